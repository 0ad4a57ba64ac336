package transfer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// withAndWithoutOutbox runs a test on a store with an outbox and on one without.
func withAndWithoutOutbox(t *testing.T, test func(t *testing.T, w *world)) {
	for name, bare := range map[string]bool{"a store with an outbox": false, "a store without": true} {
		t.Run(name, func(t *testing.T) {
			test(t, start(t, func(_ *transfer.Config, w *world) {
				if bare {
					w.store = storetest.WithoutOutbox(w.db)
				}
			}))
		})
	}
}

// postOwn asks for a change of what is a user's alone and returns its request number.
func (g *gate) postOwn(from, id string, change *imv1.OwnChange) uint64 {
	g.t.Helper()
	change.ClientId = id
	body, err := change.MarshalVT()
	must(g.t, err)
	n := g.request.Add(1)
	g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
		Session: 1, Request: n, UserId: from, DeviceId: "d1", What: &imv1.Publish_Own{Own: body}, StampClientId: true,
	}}})
	return n
}

// own returns the code of the answer to a change; empty where it was done.
func (g *gate) own(from, id string, change *imv1.OwnChange) string {
	g.t.Helper()
	n := g.postOwn(from, id, change)
	reply := recv(g.t, g.replies)
	if reply.Request != n || reply.GetSendAck() == nil && reply.GetError() == nil {
		g.t.Fatalf("reply to request %d: %v", n, reply)
	}
	return code(reply)
}

func viewOf(v *imv1.ViewChange) *imv1.OwnChange {
	return &imv1.OwnChange{What: &imv1.OwnChange_View{View: v}}
}

func deleteOf(conversation string, seqs ...int64) *imv1.OwnChange {
	d := &imv1.DeleteForMe{}
	for _, seq := range seqs {
		d.Messages = append(d.Messages, &imv1.MessagePlace{ConversationId: conversation, ConversationSeq: seq, MessageId: 1000 + seq})
	}
	return &imv1.OwnChange{What: &imv1.OwnChange_Delete{Delete: d}}
}

func profileOf(p *imv1.ProfileChange) *imv1.OwnChange {
	return &imv1.OwnChange{What: &imv1.OwnChange_Profile{Profile: p}}
}

func of[T any](v T) *T { return &v }

// lines shows those entries of an inbox that are its user's own.
func (w *world) lines(user string) (lines []string) {
	w.t.Helper()
	for _, e := range w.inboxOf(user) {
		e.AtMs = 0
		switch {
		case e.Contact != nil:
			text := e.Contact.Data.GetFields()["text"].GetStringValue() + e.Contact.Data.GetFields()["remark"].GetStringValue()
			line := strings.TrimSpace(fmt.Sprint(e.Contact.Action, " ", e.Contact.UserId, " ", text))
			lines = append(lines, line+by(e.Contact))
		case e.Message != nil && e.Message.Deleted:
			lines = append(lines, fmt.Sprint(e.Message.ConversationSeq, " deleted, content ", e.Message.Content != nil))
		case e.Message != nil:
			lines = append(lines, fmt.Sprint(e.Message.ConversationSeq, " ", e.Message.Content.GetText()))
		default:
			e.Seq = 0
			encoded, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(e)
			must(w.t, err)
			lines = append(lines, strings.ReplaceAll(string(encoded), " ", ""))
		}
	}
	return lines
}

func by(c *imv1.Contact) string {
	if who := c.Data.GetFields()["by"].GetStringValue(); who != "" {
		return " by " + who
	}
	return ""
}

// shows waits until an inbox has as many lines, and compares them.
func (w *world) shows(g *gate, user string, want ...string) {
	w.t.Helper()
	g.attach(uint64(len(user)), user, "d1")
	got := w.lines(user)
	for ; len(got) < len(want); got = w.lines(user) {
		recv(w.t, g.pushes)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("inbox of %s:\n%s\nwant:\n%s", user, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (w *world) mark(user, conversation string) im.ReadMark {
	w.t.Helper()
	marks, err := w.db.Marks(context.Background(), []im.ReadKey{{UserID: user, ConversationID: conversation}})
	must(w.t, err)
	return marks[0]
}

func TestAViewIsOnesOwn(t *testing.T) {
	withAndWithoutOutbox(t, func(t *testing.T, w *world) {
		w.users("ann", "bob")
		g := w.gate()
		c := im.DirectConversation("ann", "bob")
		for i := range 4 {
			g.send("ann", text("bob", fmt.Sprint("m", i), "", fmt.Sprint("hi ", i)))
		}
		w.shows(g, "bob", "1 hi 0", "2 hi 1", "3 hi 2", "4 hi 3")
		for i, change := range []*imv1.OwnChange{
			viewOf(&imv1.ViewChange{ConversationId: c, Muted: of(true), Pinned: of(true)}),
			viewOf(&imv1.ViewChange{ConversationId: c, Muted: of(true)}), // is so already
			viewOf(&imv1.ViewChange{ConversationId: c, Muted: of(false), ClearedUpto: 1}),
			viewOf(&imv1.ViewChange{ConversationId: c, ClearedUpto: 1}),
			deleteOf(c, 3),
		} {
			for range 2 { // the second is a repeat
				if got := g.own("bob", fmt.Sprint("v", i), change); got != "" {
					t.Fatalf("change %d is refused: %s", i, got)
				}
			}
		}
		if got := g.own("bob", "v0", viewOf(&imv1.ViewChange{ConversationId: c, Muted: of(true), Pinned: of(true)})); got != "" {
			t.Errorf("a late repeat: %s", got)
		}
		w.shows(g, "bob", "1 deleted, content false", "2 hi 1", "3 deleted, content false", "4 hi 3",
			fmt.Sprintf(`{"kind":"conversation","conversation":{"conversation_id":"%s","data":{"muted":true,"pinned":true}}}`, c),
			fmt.Sprintf(`{"kind":"conversation","conversation":{"conversation_id":"%s","data":{"muted":false}}}`, c),
			fmt.Sprintf(`{"kind":"deleted","deleted":{"conversation_id":"%s","upto":"1"}}`, c),
			fmt.Sprintf(`{"kind":"deleted","deleted":{"conversation_id":"%s","message_ids":["1003"]}}`, c))
		w.shows(g, "ann", "1 hi 0", "2 hi 1", "3 hi 2", "4 hi 3")
		mark := w.mark("bob", c)
		if mark.Muted.On() || !mark.Pinned.On() || mark.Hidden.On() || mark.ClearedUpto != 1 || mark.DeletedUpto != 3 {
			t.Errorf("mark of bob: %+v", mark)
		}
		if r := g.read1("bob", c, 1).GetReadReply(); r.GetUnread() != 2 {
			t.Errorf("unread = %v, want 2 and 4", r)
		}
	})
}

func TestWhatIsNoChangeOfOnesOwn(t *testing.T) {
	w := start(t)
	w.users("ann", "bob")
	g := w.gate()
	c := im.DirectConversation("ann", "bob")
	many := make([]int64, im.MaxDeleteMessages+1)
	for i := range many {
		many[i] = int64(i + 1)
	}
	contact := func(user, action, said string) *imv1.OwnChange {
		return &imv1.OwnChange{What: &imv1.OwnChange_Contact{Contact: &imv1.ContactChange{UserId: user, Action: action, Text: said, Remark: said}}}
	}
	for name, bad := range map[string]struct {
		change *imv1.OwnChange
		want   im.Code
	}{
		"nothing":            {&imv1.OwnChange{}, im.Invalid},
		"no messages":        {deleteOf(c), im.Invalid},
		"too many messages":  {deleteOf(c, many...), im.TooLarge},
		"no place":           {deleteOf(c, 0), im.Invalid},
		"no conversation":    {viewOf(&imv1.ViewChange{ConversationId: "x", Muted: of(true)}), im.NotFound},
		"no view":            {viewOf(&imv1.ViewChange{ConversationId: c}), im.Invalid},
		"a negative clear":   {viewOf(&imv1.ViewChange{ConversationId: c, ClearedUpto: -1}), im.Invalid},
		"no profile":         {profileOf(&imv1.ProfileChange{}), im.Invalid},
		"a long nickname":    {profileOf(&imv1.ProfileChange{Nickname: of(strings.Repeat("x", 129))}), im.Invalid},
		"a long bio":         {profileOf(&imv1.ProfileChange{Bio: of(strings.Repeat("x", 1025))}), im.TooLarge},
		"a file that is not": {profileOf(&imv1.ProfileChange{AvatarFileId: of("a\x01")}), im.Invalid},
		"oneself":            {contact("ann", "request", ""), im.Invalid},
		"nobody":             {contact("", "request", ""), im.Invalid},
		"a long text":        {contact("bob", "request", strings.Repeat("x", 513)), im.TooLarge},
		"another action":     {contact("bob", "marry", ""), im.Invalid},
	} {
		if got := g.own("ann", "", bad.change); got != string(bad.want) {
			t.Errorf("%s: %q, want %s", name, got, bad.want)
		}
	}
	if lines := w.lines("ann"); len(lines) != 0 {
		t.Errorf("after all that was refused: %v", lines)
	}
}

func TestAProfileReachesOnesDevices(t *testing.T) {
	withAndWithoutOutbox(t, func(t *testing.T, w *world) {
		w.users("ann")
		g := w.gate()
		for i, p := range []*imv1.ProfileChange{
			{Nickname: of("Ann"), Bio: of("hello")}, {Nickname: of("Ann")}, {Bio: of(""), AvatarFileId: of("f1")}, {Nickname: of("Annie")},
		} {
			if got := g.own("ann", fmt.Sprint("p", i), profileOf(p)); got != "" {
				t.Fatalf("%v is refused: %s", p, got)
			}
		}
		g.own("ann", "p0", profileOf(&imv1.ProfileChange{Nickname: of("Ann"), Bio: of("hello")})) // a late repeat
		w.shows(g, "ann", `{"kind":"profile","profile":{"data":{"bio":"hello","nickname":"Ann"}}}`,
			`{"kind":"profile","profile":{"data":{"avatar_file_id":"f1","bio":""}}}`, `{"kind":"profile","profile":{"data":{"nickname":"Annie"}}}`)
		user, err := w.db.UserByName(context.Background(), "ann")
		must(t, err)
		if user.Nickname != "Annie" || user.Bio != "" || user.AvatarFileID != "f1" {
			t.Errorf("user %+v", user)
		}
	})
}
