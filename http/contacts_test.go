package http

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// own decodes what was published last.
func (f *fakePipeline) own(t *testing.T) *imv1.OwnChange {
	t.Helper()
	change := &imv1.OwnChange{}
	if err := change.UnmarshalVT(f.published[len(f.published)-1].GetOwn()); err != nil {
		t.Fatal(err)
	}
	return change
}

func TestListingContactsRequestsAndBlocks(t *testing.T) {
	w := newWorld(t)
	me, token := w.token("me")
	on := im.WishAt(1, true)
	for i := range 450 {
		r := im.Relation{RelationKey: im.RelationKey{UserID: me, PeerID: fmt.Sprintf("p%03d", i)}}
		switch {
		case i%200 == 7: // 7, 207, 407
			r.Mine, r.Theirs, r.Remark = on, on, "R"
		case i == 100:
			r.Theirs, r.TheirText, r.TheirAtMs = on, "hi", 5
		case i == 300:
			r.Mine, r.Text, r.AtMs = on, "hello", 6
		case i%300 == 9: // 9, 309
			r.Blocked = im.FlagAt(1, true)
		}
		w.store.relations = append(w.store.relations, r)
	}
	page := w.call("GET", "/v1/contacts?limit=2", token, nil).ok("contacts", 200)
	page.is("contacts", `[{"user_id":"p007","username":"","remark":"R"},{"user_id":"p207","username":"","remark":"R"}]`)
	rest := w.call("GET", "/v1/contacts?limit=2&cursor="+page.str("next"), token, nil).ok("the rest", 200)
	rest.is("", `{"contacts":[{"user_id":"p407","username":"","remark":"R"}]}`)
	w.call("GET", "/v1/contacts/requests", token, nil).ok("requests", 200).is("requests",
		`[{"user_id":"p100","username":"","direction":"in","text":"hi","at_ms":"5"},{"user_id":"p300","username":"","direction":"out","text":"hello","at_ms":"6"}]`)
	w.call("GET", "/v1/blocks", token, nil).ok("blocks", 200).is("blocks", `[{"user_id":"p009","username":""},{"user_id":"p309","username":""}]`)
	for _, path := range []string{"/v1/contacts", "/v1/contacts/requests", "/v1/blocks"} {
		w.call("GET", path+"?limit=-1", token, nil).refused("negative limit", im.Invalid)
		w.call("GET", path+"?cursor=!", token, nil).refused("odd cursor", im.Invalid)
		w.call("GET", path, "", nil).refused("no token", im.Unauthenticated)
	}
}

func TestWhatIsAskedOfContacts(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("me")
	bob, _ := w.token("bob")
	gone, _ := w.token("gone")
	w.store.users[2].Disabled = true
	w.pipeline.reply = &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{}}}
	for _, c := range []struct {
		method, path, body string
		want               *imv1.ContactChange
	}{
		{"POST", "/v1/contacts/requests", `{"user_id":"` + bob + `","text":"hi"}`, &imv1.ContactChange{UserId: bob, Action: "request", Text: "hi"}},
		{"PUT", "/v1/contacts/requests/" + bob, `{"accept":true}`, &imv1.ContactChange{UserId: bob, Action: "accept"}},
		{"PUT", "/v1/contacts/requests/" + bob, `{"accept":false}`, &imv1.ContactChange{UserId: bob, Action: "refuse"}},
		{"PATCH", "/v1/contacts/" + bob, `{"remark":"B"}`, &imv1.ContactChange{UserId: bob, Action: "remark", Remark: "B"}},
		{"DELETE", "/v1/contacts/" + bob, ``, &imv1.ContactChange{UserId: bob, Action: "remove"}},
	} {
		w.call(c.method, c.path, token, c.body).ok(c.path, 204)
		if got := w.pipeline.own(t).GetContact(); !proto.Equal(got, c.want) {
			t.Errorf("%s %s published %v, want %v", c.method, c.path, got, c.want)
		}
	}
	w.call("PUT", "/v1/blocks/"+bob, token, nil).ok("block", 204)
	w.call("DELETE", "/v1/blocks/"+gone, token, nil).ok("unblock who is gone", 204)
	before := len(w.pipeline.published)
	w.call("POST", "/v1/contacts/requests", token, `{"user_id":"nobody"}`).refused("nobody", im.NotFound)
	w.call("POST", "/v1/contacts/requests", token, `{"user_id":"`+gone+`"}`).refused("who is disabled", im.NotFound)
	w.call("PATCH", "/v1/contacts/"+bob, token, `{}`).refused("no remark", im.Invalid)
	w.call("PUT", "/v1/blocks/nobody", token, nil).refused("nobody", im.NotFound)
	w.call("PUT", "/v1/blocks/"+bob, "", nil).refused("no token", im.Unauthenticated)
	if len(w.pipeline.published) != before {
		t.Error("a refused request was published")
	}
	w.pipeline.reply = &imv1.Reply{What: &imv1.Reply_Error{Error: &imv1.Error{Code: "not_found", Message: "no such request"}}}
	w.call("PUT", "/v1/contacts/requests/"+bob, token, `{"accept":true}`).refused("no request", im.NotFound)
	w.call("PUT", "/v1/contacts/requests/"+bob, token, `{"acept":true}`).refused("neither", im.Invalid)
	w.call("PUT", "/v1/groups/g/requests/"+bob, token, `{}`).refused("neither, of a group", im.Invalid)
	w.call("POST", "/v1/contacts/requests", token, `{}`).refused("of nobody", im.Invalid)
}
