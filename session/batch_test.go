package session

import (
	"log/slog"
	"testing"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// A transfer handles the detaches of a message before its attaches, so both of
// one session must not share a message.
func TestDetachDoesNotOvertakeAttach(t *testing.T) {
	l := NewLink(LinkConfig{InboxPartitions: 1}, slog.New(slog.DiscardHandler))
	st := newStream(&peer{link: l}, nil, nil)
	s := &Session{user: "ann"}
	s.number = 1 << 16
	st.attach(&imv1.Attach{Session: s.number, UserId: "ann"})
	st.detach(s)
	for b := st.next(); b != nil; b = st.next() {
		if len(b.Attaches) > 0 && len(b.Detaches) > 0 {
			t.Fatal("attach and detach of one session in one message: the detach is handled first, the attachment stays for ever")
		}
	}
}
