package transfer_test

import (
	"context"
	"fmt"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// patience is for how long, once nothing goes wrong any more, what is owed may take.
const modelPatience = 2 * time.Minute

// settle lets everything arrive, and judges.
func (s *system) settle() {
	if !s.await("unanswered", s.askAgain) {
		return
	}
	events := s.judgeConversations()
	if !s.await("loss", func(bool) (missing string) { return s.missing(events) }) {
		return
	}
	s.judgeInboxes(events)
	s.readEverything()
	if s.await("receipts", func(bool) string { return s.owedReceipts(events) }) {
		s.judgeReceipts()
	}
}

// await waits until nothing is missing any more.
func (s *system) await(promise string, missing func(often bool) string) bool {
	what := ""
	for i := range int(modelPatience / time.Second) {
		synctest.Wait()
		s.gate.watch()
		s.watchOwners()
		if what = missing(i%5 == 0); what == "" {
			return true
		}
		time.Sleep(time.Second)
	}
	s.broken(promise, "%s", what)
	return false
}

// askAgain resends what is not answered, as a gateway does after every break.
func (s *system) askAgain(again bool) string {
	waiting := 0
	for _, p := range s.gate.phones {
		for _, m := range p.sends {
			s.gate.mu.Lock()
			if m.ack == nil {
				waiting++
			}
			s.gate.mu.Unlock()
		}
	}
	if waiting == 0 {
		return ""
	}
	if again {
		s.gate.resend()
	}
	return fmt.Sprint(waiting, " sends have no answer")
}

// conversations of the users, those with oneself among them.
func modelConversations() map[string][]string {
	all := map[string][]string{}
	for _, a := range modelUsers {
		for _, b := range modelUsers {
			all[im.DirectConversation(a, b)] = []string{a, b}
		}
	}
	return all
}

// judgeConversations judges what is stored against what was acknowledged, and
// returns it.
func (s *system) judgeConversations() map[string][]im.Event {
	stored, ids, total := map[string][]im.Event{}, map[int64]bool{}, 0
	for id := range modelConversations() {
		events, err := s.db.EventsAfter(context.Background(), id, 0, 10000)
		s.must(err)
		stored[id] = events
		last := int64(0)
		for i, e := range events {
			if e.Seq != int64(i+1) {
				s.broken("seqs", "%s has %d at %d", id, e.Seq, i+1)
			}
			if ids[e.ID] || e.ID <= last {
				s.broken("ids", "%s has %d behind %d", id, e.ID, last)
			}
			ids[e.ID], last = true, e.ID
			total++
		}
	}
	acked := 0
	for _, p := range s.gate.phones {
		order := map[string]int64{}
		for _, m := range p.sends {
			acked++
			s.judgeSend(m, stored[m.conversation])
			if seq := m.ack.ConversationSeq; seq <= order[m.conversation] {
				s.broken("order of a sender", "%s of %s has seq %d behind %d", m.id, p.user, seq, order[m.conversation])
			} else {
				order[m.conversation] = seq
			}
		}
	}
	if total != acked {
		s.broken("once", "%d events of %d messages", total, acked)
	}
	return stored
}

func (s *system) judgeSend(m *sending, events []im.Event) {
	seq := m.ack.ConversationSeq
	if seq < 1 || seq > int64(len(events)) {
		s.broken("loss", "%s of %s has seq %d, %d are stored", m.id, m.phone.user, seq, len(events))
		return
	}
	e, body := events[seq-1], &imv1.Message{}
	s.must(body.UnmarshalVT(e.Body))
	if e.ID != m.ack.MessageId || e.SenderID != m.phone.user || e.DeviceID != m.phone.device || e.ClientID != m.id ||
		body.Content.GetText() != m.body {
		s.broken("identity", "%s of %s was acknowledged as %v, stored is %+v", m.id, m.phone.user, m.ack, e)
	}
}

// inbox returns the entries of a user's inbox, which begin with seq 1.
func (s *system) inbox(user string) []im.InboxEntry {
	page, err := s.db.Blocks(context.Background(), user, 0, 10000)
	s.must(err)
	var entries []im.InboxEntry
	for _, block := range page.Blocks {
		if block.FirstSeq != int64(len(entries)+1) {
			s.broken("gap", "a block of %s begins with %d behind %d", user, block.FirstSeq, len(entries))
		}
		entries = append(entries, block.Entries...)
	}
	return entries
}

// missing returns what has not come into an inbox.
func (s *system) missing(events map[string][]im.Event) string {
	for _, user := range modelUsers {
		in := map[int64]bool{}
		for _, e := range s.inbox(user) {
			in[e.MessageID] = true
		}
		for id, members := range modelConversations() {
			for _, e := range events[id] {
				if (members[0] == user || members[1] == user) && !in[e.ID] {
					return fmt.Sprintf("event %d of %s is not in the inbox of %s", e.Seq, id, user)
				}
			}
		}
	}
	return ""
}

// judgeInboxes: each event once, in the order of its conversation, and what was seen
// at a place is still there.
func (s *system) judgeInboxes(events map[string][]im.Event) {
	members := modelConversations()
	for _, user := range modelUsers {
		last := map[string]int64{}
		for i, e := range s.inbox(user) {
			seq := int64(i + 1)
			what := fmt.Sprintf("message %s %d %d", e.ConversationID, e.ConversationSeq, e.MessageID)
			if e.Kind == im.KindReceipt {
				what = ""
			} else {
				if e.ConversationSeq != last[e.ConversationID]+1 {
					s.broken("order", "inbox of %s has event %d of %s at %d behind %d", user, e.ConversationSeq, e.ConversationID, seq, last[e.ConversationID])
				}
				last[e.ConversationID] = e.ConversationSeq
				if all, of := events[e.ConversationID], members[e.ConversationID]; e.ConversationSeq > int64(len(all)) ||
					all[e.ConversationSeq-1].ID != e.MessageID || of[0] != user && of[1] != user {
					s.broken("phantom", "inbox of %s has %s", user, what)
				}
			}
			s.gate.mu.Lock()
			if seen, ok := s.gate.seen[user][seq]; ok && what != "" && seen != what {
				s.broken("changed", "entry %d of %s was %s, is %s", seq, user, seen, what)
			}
			s.gate.mu.Unlock()
		}
	}
}

// readEverything has all phones attach, pull to the end and acknowledge.
func (s *system) readEverything() {
	for i := range s.gate.phones {
		for _, what := range []what{attaches, pulls, acks} {
			s.gate.take(step{what: what, who: i})
			synctest.Wait()
		}
	}
}

// receiptKey2 names the receipts of one kind of one reader in one inbox.
type modelReceipts struct{ inbox, conversation, reader, kind string }

// receiptsIn returns the receipts of all inboxes, in order.
func (s *system) receiptsIn() map[modelReceipts][]int64 {
	all := map[modelReceipts][]int64{}
	for _, user := range modelUsers {
		for _, e := range s.inbox(user) {
			if e.Kind != im.KindReceipt {
				continue
			}
			body := &imv1.Entry{}
			s.must(body.UnmarshalVT(e.Data))
			key := modelReceipts{user, e.ConversationID, body.Receipt.UserId, body.Receipt.Kind}
			all[key] = append(all[key], body.Receipt.Upto)
		}
	}
	return all
}

// owedReceipts returns what must still be told: the marks, and what was
// acknowledged, as far as they go.
func (s *system) owedReceipts(events map[string][]im.Event) string {
	got := s.receiptsIn()
	for key, upto := range s.dueReceipts(events) {
		if all := got[key]; len(all) == 0 || all[len(all)-1] != upto {
			return fmt.Sprintf("%+v: %v came, %d is due", key, all, upto)
		}
	}
	return ""
}

func (s *system) dueReceipts(events map[string][]im.Event) map[modelReceipts]int64 {
	due := map[modelReceipts]int64{}
	for id, members := range modelConversations() {
		for i, reader := range members {
			peer := members[1-i]
			if upto := s.mark(reader, id).ReadUpto; upto > 0 {
				due[modelReceipts{reader, id, reader, "read"}] = upto
				due[modelReceipts{peer, id, reader, "read"}] = upto
			}
			if upto := s.delivered(reader, id, events[id]); upto > 0 && peer != reader {
				due[modelReceipts{peer, id, reader, "delivered"}] = upto
			}
		}
	}
	return due
}

// delivered is the newest message of somebody else that a user has acknowledged.
func (s *system) delivered(user, conversation string, events []im.Event) (upto int64) {
	acked := int64(0)
	for _, p := range s.gate.phones {
		if p.user == user {
			acked = max(acked, s.cursor(p))
		}
	}
	for i, e := range s.inbox(user) {
		if int64(i+1) <= acked && e.Kind == im.KindMessage && e.ConversationID == conversation &&
			events[e.ConversationSeq-1].SenderID != user {
			upto = max(upto, e.ConversationSeq)
		}
	}
	return upto
}

// judgeReceipts: they only rise.
func (s *system) judgeReceipts() {
	for key, all := range s.receiptsIn() {
		for i := range all {
			if i > 0 && all[i] <= all[i-1] {
				s.broken("receipts fall", "%+v: %v", key, all)
			}
		}
	}
}

// cursor returns a phone's cursor as it is stored.
func (s *system) cursor(p *phone) int64 { return s.cursors()[p.user+p.device] }

// cursors returns what is stored, by user and device.
func (s *system) cursors() map[string]int64 {
	rows, err := s.db.Cursors(context.Background(), modelUsers)
	s.must(err)
	cursors := map[string]int64{}
	for _, c := range rows {
		cursors[c.UserID+c.DeviceID] = c.Seq
	}
	return cursors
}

func (s *system) mark(user, conversation string) im.ReadMark {
	marks, err := s.db.Marks(context.Background(), []im.ReadKey{{UserID: user, ConversationID: conversation}})
	s.must(err)
	return marks[0]
}

// watch looks whether what only rises does.
func (g *modelGateway) watch() {
	cursors := g.s.cursors()
	for device, was := range g.cursors {
		if now := cursors[device]; now < was {
			g.s.broken("cursor", "of %s fell from %d to %d", device, was, now)
		}
	}
	g.cursors = cursors
	var keys []im.ReadKey
	for id, members := range modelConversations() {
		for _, user := range members {
			keys = append(keys, im.ReadKey{UserID: user, ConversationID: id})
		}
	}
	marks, err := g.s.db.Marks(context.Background(), keys)
	g.s.must(err)
	for i, key := range keys {
		was, now := g.marks[key], marks[i]
		if now.ReadUpto < was.ReadUpto || now.ReceiptedUpto < was.ReceiptedUpto || now.DeliveredUpto < was.DeliveredUpto {
			g.s.broken("marks", "fell from %v to %v", was, now)
		}
		g.marks[key] = now
	}
}
