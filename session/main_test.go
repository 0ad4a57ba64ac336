package session_test

import (
	"testing"

	"go.uber.org/goleak"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect gives a hub one more connection.
func connect(t testing.TB, hub *session.Hub, form wire.Form) *sessiontest.Client {
	server, client := sessiontest.Pipe()
	hub.Serve(server)
	t.Cleanup(func() { client.Close() })
	return &sessiontest.Client{T: t, Wire: client, Form: form}
}

func send(id string) *imv1.Send {
	return &imv1.Send{
		ClientMsgId: id, To: &imv1.To{To: &imv1.To_UserId{UserId: "bob"}},
		Content: &imv1.Content{Type: "text", Text: id},
	}
}

// sentIDs are the client ids of the sends that transfers have received.
func sentIDs(t testing.TB, c *sessiontest.Cluster) []string {
	var ids []string
	for _, p := range c.Published() {
		var s imv1.Send
		if err := s.UnmarshalVT(p.GetSend()); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ClientMsgId)
	}
	return ids
}

func int64p(v int64) *int64 { return &v }
