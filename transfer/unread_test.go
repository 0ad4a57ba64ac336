package transfer_test

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// Whatever users send, recall, read, delete and clear, on whichever device, and in whichever
// order: what is counted as unread is what their inboxes show as unread.
func TestUnreadIsWhatIsUnread(t *testing.T) {
	for name, bare := range map[string]bool{"a store with an outbox": false, "a store without": true} {
		t.Run(name, func(t *testing.T) {
			checkModel(t, func(rt *rapid.T) {
				w := start(t, func(_ *transfer.Config, w *world) {
					if bare {
						w.store = storetest.WithoutOutbox(w.db)
					}
				})
				defer w.stop()
				newUnreadModel(t, w).run(rt)
			})
		})
	}
}

// unreadModel is who has sent what; what is read, deleted and cleared the system says.
type unreadModel struct {
	t             testing.TB
	w             *world
	g             *gate
	users         []string
	conversations []string
	names         map[string]func(from int) *imv1.To
	sent          map[string]int64 // newest seq, by conversation
	quiet         map[string]bool  // conversation and seq of what is not to be counted
	acks          []*imv1.SendAck
	senders       []int // of acks
	request       int
}

func newUnreadModel(t testing.TB, w *world) *unreadModel {
	m := &unreadModel{t: t, w: w, users: []string{"ann", "bob", "cy"}, sent: map[string]int64{}, quiet: map[string]bool{}}
	w.users(m.users...)
	for _, user := range m.users {
		must(t, w.db.PutDevice(context.Background(), im.Device{UserID: user, DeviceID: "d2", Platform: "ios", Family: "f"}))
	}
	m.g = w.gate()
	m.g.done("ann", "g", im.ActionCreated, map[string]any{"name": "G"}, "bob", "cy")
	group, direct := im.GroupConversation("g"), im.DirectConversation("ann", "bob")
	m.conversations = []string{group, direct}
	m.names = map[string]func(int) *imv1.To{
		group:  func(int) *imv1.To { return &imv1.To{To: &imv1.To_GroupId{GroupId: "g"}} },
		direct: func(from int) *imv1.To { return &imv1.To{To: &imv1.To_UserId{UserId: m.users[1-from]}} },
	}
	for i, user := range m.users {
		m.g.attach(uint64(i+1), user, "d1")
	}
	return m
}

// in returns the users of a conversation.
func (m *unreadModel) in(conversation string) []string {
	if conversation == m.conversations[1] {
		return m.users[:2]
	}
	return m.users
}

// run carries out what is drawn.
func (m *unreadModel) run(t *rapid.T) {
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		conversation := rapid.SampledFrom(m.conversations).Draw(t, "conversation")
		who := rapid.IntRange(0, len(m.in(conversation))-1).Draw(t, "who")
		device := rapid.SampledFrom([]string{"d1", "d2"}).Draw(t, "device")
		seq := rapid.Int64Range(1, max(1, m.sent[conversation])).Draw(t, "seq")
		switch rapid.SampledFrom([]string{"send", "send", "send", "send", "quiet", "recall", "recall", "read", "delete", "delete", "clear", "check"}).Draw(t, "what") {
		case "send":
			m.send(conversation, who, device, false)
		case "quiet":
			m.send(conversation, who, device, true)
		case "recall":
			if len(m.acks) > 0 {
				at := rapid.IntRange(0, len(m.acks)-1).Draw(t, "which")
				change := encoded(m.t, recallOf(m.acks[at]))
				m.publish(m.users[m.senders[at]], device, &imv1.Publish{What: &imv1.Publish_MessageChange{MessageChange: change}})
			}
		case "read":
			if m.sent[conversation] > 0 {
				m.publish(m.users[who], device, &imv1.Publish{What: &imv1.Publish_Read{Read: encoded(m.t, &imv1.Read{ConversationId: conversation, Upto: seq})}})
			}
		case "delete":
			m.own(m.users[who], device, deleteOf(conversation, seq, max(1, seq-1)))
		case "clear":
			m.own(m.users[who], device, viewOf(&imv1.ViewChange{ConversationId: conversation, ClearedUpto: max(1, seq-2)}))
		case "check":
			m.check()
		}
	}
	m.check()
}

func (m *unreadModel) publish(user, device string, p *imv1.Publish) *imv1.Reply {
	m.request++
	p.Session, p.Request, p.UserId, p.DeviceId, p.StampClientId = 9, uint64(m.request)<<20, user, device, true
	m.g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{p}})
	r := recv(m.t, m.g.replies)
	if code(r) != "" {
		m.t.Fatalf("%v by %s is answered %v", p, user, r)
	}
	return r
}

func (m *unreadModel) own(user, device string, change *imv1.OwnChange) {
	m.publish(user, device, &imv1.Publish{What: &imv1.Publish_Own{Own: encoded(m.t, change)}})
}

func (m *unreadModel) send(conversation string, from int, device string, quiet bool) {
	send := &imv1.Send{
		To: m.names[conversation](from), Content: &imv1.Content{Type: "text", Text: "x"}, Options: &imv1.SendOptions{NoUnread: quiet},
	}
	ack := m.publish(m.users[from], device, &imv1.Publish{What: &imv1.Publish_Send{Send: encoded(m.t, send)}}).GetSendAck()
	m.sent[conversation] = ack.ConversationSeq
	m.acks, m.senders = append(m.acks, ack), append(m.senders, from)
	m.quiet[fmt.Sprint(conversation, ack.ConversationSeq)] = quiet
}

// check compares the counts of the list with the inboxes, once these have everything.
func (m *unreadModel) check() {
	for _, user := range m.users {
		shown := map[string]int{} // unread entries, by conversation
		for !m.arrived(user, shown) {
			recv(m.t, m.g.pushes)
		}
		views, err := m.w.db.ConversationList(context.Background(), user, im.ListCursor{}, 10)
		must(m.t, err)
		for _, view := range views {
			if view.Unread != shown[view.ID] {
				m.t.Fatalf("%s of %s: %d unread in the list, %d entries", view.ID, user, view.Unread, shown[view.ID])
			}
		}
		for id, n := range shown {
			mark := m.w.mark(user, id)
			counts, err := m.w.store.Unread(context.Background(), []im.ReadMark{mark})
			must(m.t, err)
			if counts[0] != n {
				m.t.Fatalf("%s of %s: %d are counted, %d entries", id, user, counts[0], n)
			}
		}
	}
}

// arrived counts a user's unread entries; false where not all messages are there yet.
func (m *unreadModel) arrived(user string, unread map[string]int) bool {
	newest := map[string]int64{}
	clear(unread)
	for _, e := range m.w.inboxOf(user) {
		id, seq := e.Message.GetConversationId(), e.Message.GetConversationSeq()
		newest[id] = max(newest[id], seq)
		if e.Message != nil && e.Message.SenderId != user && !e.HasRead && !e.Message.Deleted && !e.Message.Recalled && !m.quiet[fmt.Sprint(id, seq)] {
			unread[id]++
		}
	}
	for _, id := range m.conversations {
		for _, member := range m.in(id) {
			if member == user && m.sent[id] > newest[id] {
				return false
			}
		}
	}
	return true
}
