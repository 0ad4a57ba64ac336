package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// chatView turns inbox entries, messages and conversations into lines. Entries
// are for the client's handler goroutine alone, for they are remembered.
type chatView struct {
	self   string                     // user id
	device string                     // device id
	name   func(userID string) string // for display
	group  func(conversationID string) string
	zone   *time.Location
	own    map[string][]ownMessage // not yet read, by conversation id, ascending
}

// ownMessage is a message of one's own that the other side has not read.
type ownMessage struct {
	seq       int64
	text      string
	delivered bool
}

func newChatView(self, device string, name func(string) string, zone *time.Location) *chatView {
	return &chatView{
		self: self, device: device, name: name, group: func(id string) string { return id }, zone: zone, own: map[string][]ownMessage{},
	}
}

// entry returns the lines that show an entry: none for what the user need not
// see, or has seen as it was sent from here (shown is true).
func (v *chatView) entry(entry *imv1.Entry, shown bool) []string {
	switch {
	case entry.GetMessage() != nil:
		lines := v.message(entry.GetMessage(), shown)
		if entry.GetLate() && len(lines) > 0 {
			lines[0] += " (late: it belongs further up)"
		}
		return lines
	case entry.GetReceipt() != nil:
		return v.receipt(entry.GetReceipt(), entry.GetAtMs())
	case entry.GetMembership() != nil:
		return []string{fmt.Sprintf("%s %s: %s", v.clock(entry.GetAtMs()), printable(v.group(entry.GetMembership().GetConversationId())),
			v.membership(entry.GetMembership()))}
	case entry.GetContact() != nil:
		return []string{v.clock(entry.GetAtMs()) + " " + v.contact(entry.GetContact())}
	case entry.GetRecall() != nil, entry.GetEdit() != nil, entry.GetReaction() != nil:
		return []string{v.changed(entry)}
	}
	return nil
}

func (v *chatView) message(message *imv1.Message, shown bool) []string {
	if message.GetDeleted() {
		return nil
	}
	if message.GetSenderId() == v.self && receipted(message) {
		id := message.GetConversationId()
		v.own[id] = append(v.own[id], ownMessage{seq: message.GetConversationSeq(), text: contentText(message)})
	}
	if shown {
		return nil
	}
	line := v.line(message)
	if message.GetConversationType() == string(im.Group) {
		line += "  (in " + printable(v.group(message.GetConversationId())) + ")"
	}
	return []string{line}
}

// receipted reports whether there are receipts of what is said in such a conversation.
func receipted(m *imv1.Message) bool {
	return m.GetConversationType() != string(im.Group) && m.GetConversationType() != string(im.Room)
}

// membership says what has changed in a group.
func (v *chatView) membership(m *imv1.Membership) string {
	people := make([]string, 0, len(m.GetUserIds()))
	for _, id := range m.GetUserIds() {
		people = append(people, v.person(id))
	}
	who, by := strings.Join(people, ", "), v.person(m.GetBy())
	value := func(key string) string { return printable(m.GetData().GetFields()[key].GetStringValue()) }
	switch im.Action(m.GetAction()) {
	case im.ActionCreated:
		return fmt.Sprintf("%s made the group with %s", by, who)
	case im.ActionJoined:
		return fmt.Sprintf("%s joined, by %s", who, by)
	case im.ActionLeft:
		return who + " left"
	case im.ActionRemoved:
		return fmt.Sprintf("%s removed %s", by, who)
	case im.ActionRole:
		return fmt.Sprintf("%s made %s %s", by, who, value("role"))
	case im.ActionMuted:
		if value("muted_until_ms") == "0" {
			return fmt.Sprintf("%s lets %s speak again", by, who)
		}
		return fmt.Sprintf("%s muted %s", by, who)
	case im.ActionOwner:
		return fmt.Sprintf("%s gave the group to %s", by, who)
	case im.ActionChanged:
		return by + " changed the group's settings"
	case im.ActionDissolved:
		return by + " dissolved the group"
	case im.ActionRequested:
		return fmt.Sprintf("%s asks to join: %s", who, value("text"))
	case im.ActionRefused:
		return fmt.Sprintf("%s refused %s", by, who)
	}
	return fmt.Sprintf("%s: %s %s", by, printable(m.GetAction()), who)
}

// line shows a message, in a history too.
func (v *chatView) line(message *imv1.Message) string {
	text := contentText(message)
	if message.GetEditedAtMs() != 0 {
		text += " (edited)"
	}
	text += reactions(message)
	return fmt.Sprintf("%s %s: %s", v.clock(message.GetSentAtMs()), v.person(message.GetSenderId()), text)
}

// sent shows the outcome of a send from this terminal.
func (v *chatView) sent(text string, ack client.Ack, err error) string {
	if err != nil {
		return fmt.Sprintf("✗ not sent (%s): %s", reason(err), printable(text))
	}
	return fmt.Sprintf("%s you: %s ✓", v.clock(ack.SentAtMs), printable(text))
}

// receipt shows what the other side has received or read now and had not before.
func (v *chatView) receipt(receipt *imv1.Receipt, atMs int64) []string {
	if receipt.GetUserId() == v.self {
		return nil // read on another device of one's own
	}
	read := receipt.GetKind() == "read"
	messages := v.own[receipt.GetConversationId()]
	var news []string
	upto := 0
	for i, message := range messages {
		if message.seq > receipt.GetUpto() {
			break
		}
		upto = i + 1
		if read || !message.delivered {
			news = append(news, message.text)
		}
		messages[i].delivered = true
	}
	if read {
		v.own[receipt.GetConversationId()] = messages[upto:]
	}
	if len(news) == 0 {
		return nil
	}
	what := "delivered to"
	if read {
		what = "read by"
	}
	return []string{fmt.Sprintf("%s ✓✓ %s %s: %s", v.clock(atMs), what, v.person(receipt.GetUserId()), marked(news))}
}

// marked names the messages that a mark is about by the newest.
func marked(texts []string) string {
	newest := texts[len(texts)-1]
	if len(texts) == 1 {
		return newest
	}
	return fmt.Sprintf("%s (and %d before it)", newest, len(texts)-1)
}

// conversation shows a line of the conversation list.
func (v *chatView) conversation(c *client.Conversation) string {
	with := c.ConversationID
	switch {
	case c.PeerID != "":
		with = v.person(c.PeerID)
	case c.GroupName != "":
		with = printable(c.GroupName)
	case c.Type == string(im.Group):
		with = printable(v.group(c.ConversationID)) + " (left)"
	}
	line := with
	if c.Unread > 0 {
		line += fmt.Sprintf(" (%d unread", c.Unread)
		if c.Mentions > 0 {
			line += fmt.Sprintf(", %d to you", c.Mentions)
		}
		line += ")"
	}
	if c.LastMessage == nil {
		return line
	}
	return line + "  " + v.line(c.LastMessage)
}

func (v *chatView) clock(ms int64) string {
	return "[" + time.UnixMilli(ms).In(v.zone).Format("15:04") + "]"
}

func (v *chatView) person(userID string) string {
	if userID == v.self {
		return "you"
	}
	return printable(v.name(userID))
}

// contentText says a message in one line.
func contentText(message *imv1.Message) string {
	content := message.GetContent()
	switch {
	case message.GetRecalled():
		return "(taken back)"
	case content.GetText() != "":
		return printable(content.GetText())
	case content.GetType() != "":
		return "(" + printable(content.GetType()) + ")"
	}
	return "(nothing)"
}

// printable keeps what others wrote from steering the terminal.
func printable(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "�"), "\n", " ⏎ ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '�'
		}
		return r
	}, text)
}

// reason says an error in the server's words where there are some.
func reason(err error) string {
	var refusal *im.Error
	if errors.As(err, &refusal) {
		return printable(refusal.Message)
	}
	if unanswered(err) {
		return "the server does not answer"
	}
	return printable(err.Error())
}

// unanswered reports whether an error means that nobody was there.
func unanswered(err error) bool {
	var operation *net.OpError
	var timed interface{ Timeout() bool }
	return errors.As(err, &operation) && operation.Op == "dial" || errors.As(err, &timed) && timed.Timeout()
}
