package sessiontest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
)

// Transport is what a transport's test gives the suite.
type Transport struct {
	// Forms it carries. The first frame of the server is spoken in First.
	Forms []wire.Form
	First wire.Form
	// Messages: the transport keeps the bounds of messages.
	Messages bool
	// Start serves a hub and returns how to connect to it, by bytes one at a time
	// if slow.
	Start func(t *testing.T, hub *session.Hub) (dial func(slow bool) Wire)
}

// Run passes a transport through everything that a gateway decides by itself.
func Run(t *testing.T, tr Transport) {
	for _, form := range tr.Forms {
		t.Run(fmt.Sprintf("form=%d", form), func(t *testing.T) {
			s := &suite{Transport: tr, form: form}
			t.Run("first frame", s.firstFrame)
			t.Run("framing", s.framing)
			t.Run("operations", s.operations)
			t.Run("conversation", s.conversation)
			t.Run("behind auth", s.behindAuth)
			t.Run("slow writer", s.slowWriter)
			t.Run("renewal", s.renewal)
			t.Run("silence", s.silence)
			t.Run("gone", s.gone)
		})
	}
}

type suite struct {
	Transport
	form wire.Form
}

// client connects to a new hub over a new cluster.
func (s *suite) client(t *testing.T, config session.Config, slow bool) (*Client, *Cluster, *session.Hub) {
	cluster := New(t, 1)
	hub := cluster.Hub(t, config)
	w := s.Start(t, hub)(slow)
	t.Cleanup(func() { w.Close() })
	return &Client{T: t, Wire: w, Form: s.form}, cluster, hub
}

// live is a client that has logged in.
func (s *suite) live(t *testing.T) *Client {
	c, _, _ := s.client(t, session.Config{}, false)
	c.Login("ann", "d1")
	return c
}

func (s *suite) binary() bool { return s.form != wire.Text }

// row is some input and all that is answered to it.
type row struct {
	name string
	in   [][]byte
	want string // lines of a transcript
}

func (s *suite) rows(t *testing.T, login bool, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			c, _, _ := s.client(t, session.Config{}, false)
			if login {
				c.Login("ann", "d1")
			}
			for _, in := range r.in {
				c.Raw(in)
			}
			if !strings.HasSuffix(r.want, "closed") {
				s.goesOn(c, r.want)
				return
			}
			if got := c.Transcript(); got != r.want {
				t.Errorf("answered\n%s\nwant\n%s", got, r.want)
			}
		})
	}
}

// goesOn checks the answers and that the session lives, which a heartbeat shows.
func (s *suite) goesOn(c *Client, want string) {
	c.T.Helper()
	for _, line := range strings.FieldsFunc(want, func(r rune) bool { return r == '\n' }) {
		c.Expect(line, nil)
	}
	c.Send(wire.OpHeartbeat, 77, &imv1.Heartbeat{})
	c.Expect("heartbeat_reply 77", nil)
}

// conversation: two devices talk, each in this form.
func (s *suite) conversation(t *testing.T) {
	cluster := New(t, 1)
	dial := s.Start(t, cluster.Hub(t, session.Config{}))
	ann := &Client{T: t, Wire: dial(false), Form: s.form}
	bob := &Client{T: t, Wire: dial(false), Form: s.form}
	defer ann.Wire.Close()
	defer bob.Wire.Close()
	reply := ann.Login("ann", "d1")
	if reply.UserId != "ann" || reply.SessionId == "" || reply.InboxEpoch != Epoch || reply.Protocol != 1 ||
		reply.HeartbeatSeconds != 30 || reply.Window != 256 || reply.MaxFrame != im.MaxServerFrameBytes {
		t.Errorf("auth_reply %v", reply)
	}
	bob.Login("bob", "d1")
	text := "hi \"ann\" \u2028 \U0001f600"
	bob.Send(wire.OpSend, 2, &imv1.Send{
		ClientMsgId: "m1", To: &imv1.To{To: &imv1.To_UserId{UserId: "ann"}}, Content: &imv1.Content{Type: "text", Text: text},
	})
	for range 2 { // the answer and the echo, in either order
		bob.Next()
	}
	if e := ann.Entries(1, 1)[0]; e.Message.GetContent().GetText() != text || e.Kind != "message" || e.Message.SenderId != "bob" {
		t.Errorf("delivered %v", e)
	}
	ann.Send(wire.OpAck, 3, &imv1.Ack{Seq: 1})
	ann.Expect("ack_reply 3", nil)
	bob.Send(wire.OpSignal, 0, &imv1.Signal{To: &imv1.To{To: &imv1.To_UserId{UserId: "ann"}}, Type: "typing"})
	var signal imv1.Signal
	ann.Expect("signal 0", &signal)
	if signal.Type != "typing" || signal.From.GetUserId() != "bob" {
		t.Errorf("signal %v", &signal)
	}
	var page imv1.SyncReply
	after := int64(0)
	ann.Send(wire.OpSync, 9, &imv1.Sync{After: &after})
	ann.Expect("sync_reply 9", &page)
	if len(page.Entries) != 1 || page.Entries[0].Seq != 1 || page.Head != 1 || page.HasMore || page.InboxEpoch != Epoch {
		t.Errorf("sync_reply %v", &page)
	}
}

// behindAuth: what comes right behind an auth is done after it, or not at all.
func (s *suite) behindAuth(t *testing.T) {
	send := &imv1.Send{ClientMsgId: "m", To: &imv1.To{To: &imv1.To_UserId{UserId: "ann"}}}
	for _, token := range []string{Token("ann", "d1", "web", 0), "wrong"} {
		c, cluster, _ := s.client(t, session.Config{}, false)
		frames := [][]byte{s.frame(wire.OpAuth, 1, auth(token, "d1", "web")), s.frame(wire.OpSend, 2, send)}
		if s.binary() {
			frames = [][]byte{append(frames[0], frames[1]...)}
		}
		for _, f := range frames {
			c.Raw(f)
		}
		if token == "wrong" {
			if got := c.Transcript(); got != "error 1 unauthenticated\n"+unauthenticated || len(cluster.Published()) > 0 {
				t.Errorf("answered\n%s", got)
			}
			continue
		}
		c.Expect("auth_reply 1", nil)
		seen := map[string]bool{c.Next().String(): true, c.Next().String(): true}
		if !seen["send_ack 2"] || !seen["deliver 0"] {
			t.Errorf("answered %v", seen)
		}
	}
}

// slowWriter: frames are understood under any split.
func (s *suite) slowWriter(t *testing.T) {
	c, _, _ := s.client(t, session.Config{}, true)
	c.Login("ann", "d1")
	c.Send(wire.OpHeartbeat, 2, &imv1.Heartbeat{})
	c.Expect("heartbeat_reply 2", nil)
}

// renewal: auth on a live session changes when the token ends and nothing else.
func (s *suite) renewal(t *testing.T) {
	c, cluster, _ := s.client(t, session.Config{}, false)
	cluster.Append("ann", "before")
	first := c.Auth(auth(Token("ann", "d1", "web", time.Hour), "d1", "web"))
	if first.ExpiresIn < 3590 || first.ExpiresIn > 3600 {
		t.Errorf("expires_in %d", first.ExpiresIn)
	}
	c.Entries(1, 1)
	zero := int64(0)
	c.Send(wire.OpAuth, 2, &imv1.Auth{Token: Token("ann", "d1", "web", 2*time.Hour), DeviceId: "d1", Platform: "web", LastSeq: &zero, Start: "?"})
	var reply imv1.AuthReply
	c.Expect("auth_reply 2", &reply)
	if reply.SessionId != first.SessionId || reply.ExpiresIn < 7190 {
		t.Errorf("renewed %v", &reply)
	}
	c.Send(wire.OpAuth, 3, auth(Token("bob", "d1", "web", 0), "d1", "web"))
	c.Expect("error 3 forbidden", nil)
	c.Send(wire.OpAuth, 4, auth(Token("ann", "d2", "web", 0), "d2", "web"))
	c.Expect("error 4 forbidden", nil)
	c.Send(wire.OpAuth, 5, auth("wrong", "d1", "web"))
	c.Expect("error 5 unauthenticated", nil)
	c.Send(wire.OpHeartbeat, 6, &imv1.Heartbeat{})
	c.Expect("heartbeat_reply 6", nil)
}

// silence: nothing, or half a frame, in the time for an auth.
func (s *suite) silence(t *testing.T) {
	c, _, _ := s.client(t, session.Config{AuthTimeout: 50 * time.Millisecond}, false)
	if !s.Messages {
		c.Raw(s.frame(wire.OpAuth, 1, auth("t", "d1", "web"))[:11])
	}
	c.Form = s.First
	if got := c.Transcript(); got != unauthenticated {
		t.Errorf("answered\n%s", got)
	}
}

// gone: a client that closes is taken out at once.
func (s *suite) gone(t *testing.T) {
	c, cluster, hub := s.client(t, session.Config{}, false)
	c.Login("ann", "d1")
	c.Wire.Close()
	Eventually(t, func() bool { return hub.Connections() == 0 && cluster.Attached("ann") == 0 })
}

// Eventually waits until something is so.
func Eventually(t testing.TB, so func() bool) {
	t.Helper()
	patience := time.After(Patience)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !so() {
		select {
		case <-look.C:
		case <-patience:
			t.Fatal("it did not come about")
		}
	}
}
