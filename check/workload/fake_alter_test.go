package workload

import (
	"io"
	"net/http"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// The promises about recalls and edits that a fake breaks, each time.
const (
	forgets   breach = "answers a recall that takes no place"
	conceals  breach = "tells one receiver nothing of a recall or edit"
	repeats   breach = "carries a recall out twice"
	revives   breach = "edits a message after its recall"
	miswrites breach = "edits a message to something else"
	pretends  breach = "refuses for good a recall that it carries out"
	keeps     breach = "shows messages as they were sent for ever"
	blurts    breach = "tells of an edit who does not see the message"
)

func (f *fake) alterRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/messages/{id}/recall", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		m := f.altered(w, r)
		if m == nil {
			return
		}
		times := 1
		switch f.breach {
		case forgets:
			times = 0
		case repeats:
			times = 2
		}
		for range times {
			f.tellAltered(m, &imv1.Entry{Kind: string(im.KindRecall), Recall: &imv1.Recall{MessageId: m.MessageId, By: m.SenderId}})
		}
		before := m.Content
		if f.breach != keeps {
			m.Recalled, m.Content = true, nil
		}
		if f.breach == revives {
			f.tellAltered(m, &imv1.Entry{Kind: string(im.KindEdit), Edit: &imv1.Edit{
				MessageId: m.MessageId, By: m.SenderId, Version: m.Version + 2, Content: before,
			}})
		}
		if f.breach == pretends {
			answer(w, http.StatusForbidden, map[string]string{"code": "forbidden"})
			return
		}
		answer(w, http.StatusOK, &imv1.Message{MessageId: m.MessageId, Recalled: true, Version: m.Version + 1})
	})
	mux.HandleFunc("PATCH /v1/messages/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		m := f.altered(w, r)
		if m == nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		must(err)
		var edit imv1.Edit // has a content as the request has
		must(protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, &edit))
		version, content := f.versions[m.MessageId]+2, edit.Content
		f.versions[m.MessageId]++
		if f.breach == miswrites {
			content = proto.CloneOf(content)
			content.Text += "!"
		}
		f.tellAltered(m, &imv1.Entry{Kind: string(im.KindEdit), Edit: &imv1.Edit{MessageId: m.MessageId, By: m.SenderId, Version: version, Content: content}})
		if f.breach != keeps {
			m.Content, m.Version, m.EditedAtMs = content, version, 1
		}
		answer(w, http.StatusOK, &imv1.Message{MessageId: m.MessageId, Version: version})
	})
}

// altered returns the message that a request names.
func (f *fake) altered(w http.ResponseWriter, r *http.Request) *imv1.Message {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	must(err)
	m := f.messages[id]
	if m == nil || m.Recalled {
		answer(w, http.StatusNotFound, map[string]string{"code": "not_found"})
		return nil
	}
	return m
}

// tellAltered puts a recall or an edit into the inboxes of those who see the message.
func (f *fake) tellAltered(m *imv1.Message, entry *imv1.Entry) {
	f.heads[m.ConversationId]++
	seq := f.heads[m.ConversationId]
	if entry.Recall != nil {
		entry.Recall.ConversationId, entry.Recall.ConversationSeq = m.ConversationId, seq
	} else {
		entry.Edit.ConversationId, entry.Edit.ConversationSeq = m.ConversationId, seq
	}
	concealed := f.breach == conceals
	for _, user := range f.seen[m.MessageId] {
		if group := f.groups[m.ConversationId]; group != nil && !group[user] {
			continue
		}
		if concealed && user != m.SenderId {
			concealed = false
			continue
		}
		f.put(user, proto.CloneOf(entry))
	}
	for user := range f.inboxes {
		if f.breach == blurts && !slices.Contains(f.seen[m.MessageId], user) {
			f.put(user, proto.CloneOf(entry))
		}
	}
}
