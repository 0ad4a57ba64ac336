package tcp_test

import (
	"testing"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

// BenchmarkSend is a message from one device to another and its answer, client
// and transfer in memory included, with up to 64 on their way.
func BenchmarkSend(b *testing.B) {
	for _, form := range []wire.Form{wire.Proto, wire.JSON} {
		b.Run(map[wire.Form]string{wire.Proto: "proto", wire.JSON: "json"}[form], func(b *testing.B) {
			cluster := sessiontest.New(b, 1)
			cluster.OnPublish = func(*imv1.Publish) *imv1.Reply {
				return &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{ClientMsgId: "m", MessageId: 1}}}
			}
			server := start(b, cluster.Hub(b, session.Config{}))
			c := &sessiontest.Client{T: b, Wire: sessiontest.Stream{Conn: dial(b, server)}, Form: form}
			c.Login("ann", "d1")
			body := &imv1.Send{
				ClientMsgId: "0198c0de-0000-7000-8000-000000000000", To: &imv1.To{To: &imv1.To_UserId{UserId: "bob"}},
				Content: &imv1.Content{Type: "text", Text: "hello, how are you?"},
			}
			places := make(chan struct{}, 64)
			go func() {
				for i := range b.N {
					places <- struct{}{}
					c.Send(wire.OpSend, int32(i), body)
				}
			}()
			b.ResetTimer()
			for range b.N {
				if r := c.Next(); r.Op != wire.OpSendAck {
					b.Fatalf("received %s", r)
				}
				<-places
			}
		})
	}
}
