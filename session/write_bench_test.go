package session

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// BenchmarkPush is what a live session does with pushes that come together: each
// is put into the deliver frame, all are written at once, and the ack of the last
// opens the window. The socket takes everything; JSON is made once for all.
func BenchmarkPush(b *testing.B) {
	entry, err := (&imv1.Entry{Kind: string(im.KindMessage), Message: &imv1.Message{
		MessageId: 1 << 60, ConversationId: im.DirectConversation("ann", "bob"), SenderId: "ann",
		Content: &imv1.Content{Type: "text", Text: strings.Repeat("x", 128)},
	}}).MarshalVT()
	if err != nil {
		b.Fatal(err)
	}
	for _, form := range []wire.Form{wire.Proto, wire.JSON} {
		name := map[wire.Form]string{wire.Proto: "proto", wire.JSON: "json"}[form]
		for _, pushes := range []int64{1, 16} {
			b.Run(fmt.Sprintf("form=%s/pushes=%d", name, pushes), func(b *testing.B) {
				hub := NewHub(Config{}, nil, nil)
				s := newSession(hub, &takesAll{socket: socket{}})
				s.phase, s.form = phaseLive, form
				p := &pushed{proto: entry}
				b.ReportAllocs()
				for b.Loop() {
					for range pushes {
						s.push(s.cursor+1, p)
					}
					s.writing = true
					s.write()
					s.mu.Lock()
					s.progress(s.cursor)
					s.mu.Unlock()
				}
				if s.cursor != int64(b.N)*pushes {
					b.Fatalf("the cursor is at %d after %d", s.cursor, b.N)
				}
			})
		}
	}
}

// takesAll is a connection that takes whatever is written.
type takesAll struct {
	Conn
	socket net.Conn
}

func (*takesAll) Seal(batch []byte, _ int, _ bool) []byte { return batch }
func (*takesAll) OnControl(func([]byte))                  {}
func (c *takesAll) NetConn() net.Conn                     { return c.socket }

type socket struct{ net.Conn }

func (socket) Write(batch []byte) (int, error)  { return len(batch), nil }
func (socket) SetReadDeadline(time.Time) error  { return nil }
func (socket) SetWriteDeadline(time.Time) error { return nil }
