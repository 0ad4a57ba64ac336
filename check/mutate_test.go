package check

import (
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/im-transfer/im"
)

// model is an honest server in miniature that produces clean histories: users with
// inboxes, devices that come and go, senders that retry.
type model struct {
	t       *rapid.T
	h       *History
	now     time.Duration
	users   []*modelUser
	devices []*modelDevice
	heads   map[ConversationRef]int64
	last    map[[2]uint32]uint32 // by device and conversation: the last number
	id      int64
	group   ConversationRef
	sent    []*modelMessage
}

// modelMessage is a message that is stored.
type modelMessage struct {
	Arrival
	by       *modelDevice
	sees     []*modelUser // who got it, and has stayed since
	version  int32
	recalled bool
}

type modelUser struct {
	id      string
	inbox   []modelEntry
	talksTo map[ConversationRef][]*modelUser
	read    map[ConversationRef]int64
}

// modelReceipt says how far a user has read.
type modelReceipt struct {
	reader string
	upto   int64
}

// modelEntry is a message, a change of one, or of the group's members, or a receipt.
type modelEntry struct {
	Arrival
	changed *Change
	altered *Altered
	receipt *modelReceipt
}

type modelDevice struct {
	*Device
	user   *modelUser
	log    *Log
	sends  *Log
	seq    int // last delivered
	cursor int64
	number uint32
}

func cleanHistory(t *rapid.T) *model {
	m := &model{t: t, h: NewHistory(), heads: map[ConversationRef]int64{}, last: map[[2]uint32]uint32{}, id: 1000}
	for i := range rapid.IntRange(2, 4).Draw(t, "users") {
		user := &modelUser{id: fmt.Sprintf("u%d", i), talksTo: map[ConversationRef][]*modelUser{}, read: map[ConversationRef]int64{}}
		m.users = append(m.users, user)
		for d := range rapid.IntRange(1, 2).Draw(t, "devices") {
			device := m.h.Device(user.id, fmt.Sprintf("d%d", d))
			m.devices = append(m.devices, &modelDevice{Device: device, user: user, log: device.Log(), sends: device.Log()})
		}
	}
	m.befriend()
	for _, d := range m.devices {
		d.log.Resumed(Resume{At: m.tick()})
	}
	for range rapid.IntRange(5, 60).Draw(t, "steps") {
		m.step()
	}
	for _, d := range m.devices {
		m.deliver(d, len(d.user.inbox))
		d.CaughtUp()
	}
	return m
}

func (m *model) befriend() {
	group := m.h.Conversation(im.GroupConversation("all"))
	m.group = group
	var stays []Stay
	for _, a := range m.users {
		stays = append(stays, Stay{UserID: a.id})
		a.talksTo[group] = slices.Clone(m.users)
		for _, b := range m.users {
			members := []*modelUser{a, b}
			if a == b {
				members = members[:1]
			}
			a.talksTo[m.h.Direct(a.id, b.id)] = members
		}
	}
	m.h.Conversation(im.GroupConversation("all"), stays...)
}

func (m *model) tick() time.Duration {
	m.now += tick
	return m.now
}

func (m *model) step() {
	d := rapid.SampledFrom(m.devices).Draw(m.t, "device")
	switch rapid.SampledFrom([]string{"send", "send", "deliver", "deliver", "ack", "reconnect", "read", "change", "alter", "alter"}).Draw(m.t, "step") {
	case "send":
		m.send(d)
	case "deliver":
		m.deliver(d, rapid.IntRange(1, 5).Draw(m.t, "entries"))
	case "ack":
		d.cursor = max(d.cursor, int64(d.seq))
		d.log.Cursor(m.tick(), d.cursor)
		d.log.CursorReply(m.tick(), d.cursor, d.cursor)
	case "reconnect":
		m.reconnect(d)
	case "change":
		m.change(d.user)
	case "alter":
		m.alter(d)
	case "read":
		if d.seq > 0 {
			m.read(d, d.user.inbox[d.seq-1].Arrival)
		}
	}
}

// read marks a conversation as read up to an entry, of which everybody in it is told.
func (m *model) read(d *modelDevice, a Arrival) {
	upto := max(d.user.read[a.Conversation], a.ConversationSeq)
	if upto == 0 {
		return
	}
	d.user.read[a.Conversation] = upto
	d.log.Read(m.tick(), a.Conversation, upto, upto)
	for _, user := range d.user.talksTo[a.Conversation] {
		seq := int64(len(user.inbox) + 1)
		user.inbox = append(user.inbox, modelEntry{
			Arrival: Arrival{Seq: seq, Conversation: a.Conversation}, receipt: &modelReceipt{d.user.id, upto},
		})
	}
}

func (m *model) reconnect(d *modelDevice) {
	resume := Resume{At: m.tick(), Head: int64(len(d.user.inbox))}
	if rapid.Bool().Draw(m.t, "names its last seq") {
		resume.Last, resume.HasLast = int64(d.seq), true
	} else {
		d.seq = int(d.cursor)
	}
	resume.From = int64(d.seq)
	d.log.Resumed(resume)
}

// change brings somebody into the group or takes them out, the first user excepted.
// Those who were in, or are now, are told.
func (m *model) change(u *modelUser) {
	if u == m.users[0] {
		return
	}
	before := m.users[0].talksTo[m.group]
	after := slices.DeleteFunc(slices.Clone(before), func(other *modelUser) bool { return other == u })
	made := &Change{UserID: u.id, Joined: len(after) == len(before)}
	told := before
	if made.Joined {
		after = append(after, u)
		told = after
	}
	for _, user := range m.users {
		delete(user.talksTo, m.group)
	}
	for _, message := range m.sent {
		if !made.Joined && message.Conversation == m.group {
			message.sees = slices.DeleteFunc(message.sees, func(other *modelUser) bool { return other == u })
		}
	}
	for _, user := range after {
		user.talksTo[m.group] = after
	}
	m.heads[m.group]++
	m.h.Changes(m.group, *made)
	for _, user := range told {
		seq := int64(len(user.inbox) + 1)
		user.inbox = append(user.inbox, modelEntry{Arrival: Arrival{Seq: seq, Conversation: m.group, ConversationSeq: m.heads[m.group]}, changed: made})
	}
}

func (m *model) send(d *modelDevice) {
	conversations := make([]ConversationRef, 0, len(d.user.talksTo))
	for c := range d.user.talksTo {
		conversations = append(conversations, c)
	}
	slices.Sort(conversations)
	c := rapid.SampledFrom(conversations).Draw(m.t, "conversation")
	d.number++
	hash := Hash(d.user.id, []byte{byte(d.number)})
	after := m.last[[2]uint32{d.ref, uint32(c)}]
	sent := Sent{At: m.tick(), Number: d.number, Conversation: c, After: after, Named: after != 0, Hash: hash}
	d.sends.Sent(sent)
	if rapid.IntRange(0, 9).Draw(m.t, "refused") == 0 {
		d.log.Refused(m.tick(), d.number, im.Forbidden)
		return
	}
	m.last[[2]uint32{d.ref, uint32(c)}] = d.number
	m.id++
	m.heads[c]++
	a := Arrival{MessageID: m.id, Conversation: c, ConversationSeq: m.heads[c], Key: Key{d.ref, d.number}, Hash: hash}
	for _, user := range d.user.talksTo[c] {
		a.Seq = int64(len(user.inbox) + 1)
		user.inbox = append(user.inbox, modelEntry{Arrival: a})
	}
	m.sent = append(m.sent, &modelMessage{Arrival: a, by: d, sees: slices.Clone(d.user.talksTo[c]), version: 1})
	lost := rapid.IntRange(0, 4).Draw(m.t, "ack lost") == 0
	if lost {
		sent.At = m.tick()
		d.sends.Sent(sent)
	}
	d.log.Acked(Answer{At: m.tick(), Number: d.number, MessageID: m.id, Conversation: c, ConversationSeq: m.heads[c], Duplicate: lost})
}

// alter recalls or edits a message of the device's own; who left the group may not.
func (m *model) alter(d *modelDevice) {
	i := slices.IndexFunc(m.sent, func(sent *modelMessage) bool {
		return sent.by == d && !sent.recalled && d.user.talksTo[sent.Conversation] != nil && slices.Contains(sent.sees, d.user)
	})
	if i < 0 {
		return
	}
	message := m.sent[i]
	if rapid.IntRange(0, 4).Draw(m.t, "alteration refused") == 0 {
		m.h.Alters(message.Key, Alteration{Recall: true, Refused: true})
		return
	}
	message.version++
	m.heads[message.Conversation]++
	a := &Altered{
		Conversation: message.Conversation, ConversationSeq: m.heads[message.Conversation], Key: message.Key, MessageID: message.MessageID,
		Version: message.version, Hash: Hash(d.user.id, []byte{99, byte(message.version)}),
	}
	if message.recalled = rapid.IntRange(0, 2).Draw(m.t, "recall") == 0; message.recalled {
		a.Recall, a.Hash, a.Version = true, 0, 0
	}
	made := Alteration{Recall: a.Recall, Hash: a.Hash, Version: message.version}
	if rapid.IntRange(0, 4).Draw(m.t, "no answer") == 0 {
		made.Version = 0
	}
	m.h.Alters(message.Key, made)
	for _, user := range message.sees {
		seq := int64(len(user.inbox) + 1)
		user.inbox = append(user.inbox, modelEntry{Arrival: Arrival{Seq: seq, Conversation: a.Conversation, ConversationSeq: a.ConversationSeq}, altered: a})
	}
}

func (m *model) deliver(d *modelDevice, n int) {
	for ; n > 0 && d.seq < len(d.user.inbox); n-- {
		a := d.user.inbox[d.seq]
		a.At = m.tick()
		switch {
		case a.changed != nil:
			d.log.Changed(a.At, a.Seq, a.Conversation, a.ConversationSeq, a.changed.UserID, a.changed.Joined)
		case a.altered != nil:
			altered := *a.altered
			altered.At, altered.Seq = a.At, a.Seq
			d.log.Altered(altered)
		case a.receipt != nil:
			d.log.Receipt(a.At, a.Seq, a.Conversation, a.receipt.reader, false, a.receipt.upto)
		default:
			d.log.Arrived(a.Arrival)
		}
		d.seq++
	}
}

// pick draws one of the records that a predicate accepts.
func (m *model) pick(accept func(*record) bool) (*Log, *record) {
	var logs []*Log
	var records []*record
	for _, d := range m.devices {
		for _, log := range d.logs {
			log.each(func(r *record) {
				if accept(r) {
					logs, records = append(logs, log), append(records, r)
				}
			})
		}
	}
	if len(records) == 0 {
		m.t.Skip("nothing to break")
	}
	i := rapid.IntRange(0, len(records)-1).Draw(m.t, "victim")
	return logs[i], records[i]
}

func isArrival(r *record) bool { return r.kind == recordArrived }

func isChange(r *record) bool { return r.kind == recordChange }

func isReceipt(r *record) bool { return r.kind == recordReceipt }

func isAltered(r *record) bool { return r.kind == recordAltered }

func isEdit(r *record) bool { return isAltered(r) && !r.has(flagRecall) }

// everywhere does something to all records of the event that a record is of.
func (m *model) everywhere(r *record, do func(*record)) {
	was := *r
	for _, d := range m.devices {
		for _, log := range d.logs {
			log.each(func(other *record) {
				if other.kind == was.kind && other.conversation == was.conversation && other.convSeq == was.convSeq {
					do(other)
				}
			})
		}
	}
}

// each breaks a clean history in one place and names what it must be convicted of.
var mutations = map[string]func(*model) []Kind{
	"an entry vanishes": func(m *model) []Kind {
		log, r := m.pick(isArrival)
		r.kind = 0
		// Where the session ends just there, the same entry may come again later.
		log.each(func(other *record) {
			if other.kind == recordArrived && other.seq == r.seq {
				m.t.Skip("delivered again")
			}
		})
		return []Kind{Loss}
	},
	"a receipt says more than its reader was delivered": func(m *model) []Kind {
		_, r := m.pick(isReceipt)
		of, upto := *r, r.convSeq+1000
		for _, d := range m.devices {
			d.each(func(r *record) {
				if isReceipt(r) && r.id == of.id && r.conversation == of.conversation && r.seq == of.seq {
					r.convSeq = upto
				}
			})
		}
		return []Kind{Receipt}
	},
	"a receipt comes before what it is about": func(m *model) []Kind {
		_, r := m.pick(isReceipt)
		r.at = 0
		return []Kind{Receipt}
	},
	"a change of a message vanishes": func(m *model) []Kind {
		_, r := m.pick(func(r *record) bool {
			return isAltered(r) && !slices.ContainsFunc(m.h.asked[r.key], func(a Alteration) bool { return a.Version == 0 && !a.Refused })
		})
		m.everywhere(r, func(r *record) { r.kind, r.conversation = recordEntry, 0 })
		return []Kind{Alter}
	},
	"an edit says something else": func(m *model) []Kind {
		_, r := m.pick(isEdit)
		m.everywhere(r, func(r *record) { r.hash++ })
		return []Kind{Alter, Phantom}
	},
	"an edit says something else at one device": func(m *model) []Kind {
		_, r := m.pick(isEdit)
		r.hash++
		return []Kind{Changed, Alter, Phantom}
	},
	"an edit becomes a recall": func(m *model) []Kind {
		_, r := m.pick(isEdit)
		m.everywhere(r, func(r *record) { r.flags |= flagRecall })
		return []Kind{Alter, Phantom, Refused}
	},
	"a change of a message is told to somebody else": func(m *model) []Kind {
		_, r := m.pick(isAltered)
		m.everywhere(r, func(r *record) { r.key = Key{9, 9} })
		return []Kind{Phantom}
	},
	"a refused change took place": func(m *model) []Kind {
		_, r := m.pick(isAltered)
		for i := range m.h.asked[r.key] {
			m.h.asked[r.key][i].Refused = true
		}
		return []Kind{Refused}
	},
	"a change of the members vanishes": func(m *model) []Kind {
		_, r := m.pick(isChange)
		for _, d := range m.devices {
			for _, log := range d.logs {
				log.each(func(other *record) {
					if isChange(other) && other.convSeq == r.convSeq && other != r {
						other.kind, other.conversation = recordEntry, 0
					}
				})
			}
		}
		r.kind, r.conversation = recordEntry, 0
		return []Kind{Membership}
	},
	"one user is not told of a change of the members": func(m *model) []Kind {
		_, r := m.pick(isChange)
		r.kind = recordEntry
		return []Kind{Changed, Loss, Membership}
	},
	"a change comes at another seq": func(m *model) []Kind {
		_, r := m.pick(isChange)
		r.convSeq += 1000
		return []Kind{Membership}
	},
	"an entry is repeated": func(m *model) []Kind {
		log, r := m.pick(isArrival)
		log.insertAfter(r, *r)
		return []Kind{Duplicate}
	},
	"a message comes again under a new seq": func(m *model) []Kind {
		log, r := m.pick(isArrival)
		again := *r
		again.seq = 0
		log.each(func(other *record) { again.seq = max(again.seq, other.seq+1) })
		log.append(again)
		return []Kind{Duplicate}
	},
	"two entries change places": func(m *model) []Kind {
		log, r := m.pick(isArrival)
		var next *record
		log.each(func(other *record) {
			if isArrival(other) && other.seq == r.seq+1 && other.at > r.at && next == nil {
				next = other
			}
		})
		if next == nil {
			m.t.Skip("the last one")
		}
		*r, *next = *next, *r
		return []Kind{Gap}
	},
	"content changes on the way": func(m *model) []Kind {
		_, r := m.pick(isArrival)
		r.hash++
		return []Kind{Phantom}
	},
	"nobody sent it": func(m *model) []Kind {
		_, r := m.pick(isArrival)
		r.key.Number += 1000
		return []Kind{Phantom}
	},
	"an answer names another id": func(m *model) []Kind {
		_, r := m.pick(func(r *record) bool { return r.kind == recordAcked })
		r.id += 100000
		return []Kind{Identity, IDs}
	},
	"a stored message is refused": func(m *model) []Kind {
		log, r := m.pick(func(r *record) bool { return r.kind == recordAcked })
		log.Refused(m.now, r.key.Number, im.Invalid)
		return []Kind{Refused}
	},
	"two messages share a conversation seq": func(m *model) []Kind {
		_, r := m.pick(func(r *record) bool { return r.kind == recordAcked && r.convSeq > 1 })
		m.every(r.key, func(other *record) { other.convSeq-- })
		return []Kind{Collision}
	},
	"an id falls": func(m *model) []Kind {
		_, r := m.pick(func(r *record) bool { return r.kind == recordAcked && m.follows(r) })
		m.every(r.key, func(other *record) { other.id = 1 })
		return []Kind{IDs}
	},
	"a message overtakes its predecessor": func(m *model) []Kind {
		_, r := m.pick(func(r *record) bool { return r.kind == recordSent && r.seq != 0 })
		before := Key{r.key.Device, r.seq}
		var own, other record
		m.every(r.key, func(r *record) { own = *r })
		m.every(before, func(r *record) { other = *r })
		if own.id == 0 {
			m.t.Skip("refused")
		}
		m.every(r.key, func(r *record) { r.convSeq = other.convSeq })
		m.every(before, func(r *record) { r.convSeq = own.convSeq })
		return []Kind{SenderOrder}
	},
	"a session skips an entry": func(m *model) []Kind {
		_, r := m.pick(func(r *record) bool { return r.kind == recordResumed && r.at > ticks(20*tick) })
		r.seq++
		return []Kind{Cursor}
	},
	"a cursor falls": func(m *model) []Kind {
		_, r := m.pick(func(r *record) bool { return r.kind == recordCursorReply && r.convSeq > 0 })
		r.convSeq--
		return []Kind{Cursor}
	},
}

// follows reports whether another message of the conversation is stored before one.
func (m *model) follows(r *record) bool {
	follows := false
	for _, d := range m.devices {
		for _, log := range d.logs {
			log.each(func(other *record) {
				follows = follows || other.kind == recordAcked && other.conversation == r.conversation && other.convSeq < r.convSeq
			})
		}
	}
	return follows
}

// every changes all records of a stored message.
func (m *model) every(key Key, change func(*record)) {
	for _, d := range m.devices {
		for _, log := range d.logs {
			log.each(func(r *record) {
				if r.key == key && (r.kind == recordAcked || r.kind == recordArrived) {
					change(r)
				}
			})
		}
	}
}

func (l *Log) insertAfter(at *record, r record) {
	var all []record
	l.each(func(other *record) {
		all = append(all, *other)
		if other == at {
			all = append(all, r)
		}
	})
	l.chunks = [][]record{all}
}

func TestAnHonestServerIsAcquitted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := cleanHistory(t)
		if verdict := Judge(m.h); !verdict.OK() {
			t.Fatalf("%+v", verdict)
		}
	})
}

func TestAnyBreakOfACleanHistoryIsConvicted(t *testing.T) {
	for name, mutate := range mutations {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := cleanHistory(t)
				kinds := mutate(m)
				verdict := Judge(m.h)
				if !slices.ContainsFunc(kinds, func(k Kind) bool { return verdict.Totals[k] > 0 }) {
					t.Fatalf("not convicted of %v: %+v", kinds, verdict)
				}
			})
		})
	}
}

func TestARecordIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(record{}); size > 40 {
		t.Fatalf("%d bytes", size)
	}
	if size := unsafe.Sizeof(message{}); size > 32 {
		t.Fatalf("%d bytes for a message under judgement", size)
	}
}

// bulk records n messages of one pair, four events each.
func bulk(n int) *History {
	h := NewHistory()
	c := h.Direct("ann", "bob")
	ann, bob := h.Device("ann", "phone"), h.Device("bob", "phone")
	sender, receiver := ann.Log(), bob.Log()
	for _, log := range []*Log{sender, receiver} {
		log.Resumed(Resume{})
	}
	body := make([]byte, 128)
	for i := 1; i <= n; i++ {
		number, seq, at := uint32(i), int64(i), time.Duration(i)*time.Microsecond
		hash := Hash("ann", body)
		sender.Sent(Sent{At: at, Number: number, Conversation: c, After: number - 1, Named: true, Hash: hash})
		sender.Acked(Answer{At: at, Number: number, MessageID: seq, Conversation: c, ConversationSeq: seq})
		a := Arrival{At: at, Seq: seq, MessageID: seq, Conversation: c, ConversationSeq: seq, Key: Key{ann.Ref(), number}, Hash: hash}
		sender.Arrived(a)
		receiver.Arrived(a)
	}
	ann.CaughtUp()
	bob.CaughtUp()
	return h
}

func BenchmarkRecordMessage(b *testing.B) {
	b.ReportAllocs()
	bulk(b.N)
}

func BenchmarkJudgeMessage(b *testing.B) {
	h := bulk(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	if verdict := Judge(h); !verdict.OK() {
		b.Fatal(verdict.Totals)
	}
}
