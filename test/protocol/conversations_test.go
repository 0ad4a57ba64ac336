package protocol

import (
	"fmt"
	"net/url"
	"testing"
)

// The list shows conversations newest first, each as its user sees it.
func testConversations(t *testing.T, w *world) {
	me, ann, bob, cid := w.someone(t), w.someone(t), w.someone(t), w.someone(t)
	w.message(t, ann, me.user, "a1", "one")
	w.message(t, ann, me.user, "a2", "two")
	w.message(t, me, bob.user, "b1", "mine")
	w.message(t, me, me.user, "s1", "to myself")
	w.message(t, ann, cid.user, "c1", "not mine")
	last := w.message(t, ann, me.user, "a3", "three")
	w.waitHead(t, me, 5)
	w.call(t, me.token, "POST", "/v1/inbox/read", fmt.Sprintf(`{"conversation_id":%q,"upto":"1"}`, direct(me, ann))).is(200, `{}`)
	w.waitHead(t, me, 6)
	list := w.call(t, me.token, "GET", "/v1/conversations", "").is(200, fmt.Sprintf(`{"next":null,"inbox_head":"6","inbox_epoch":"*","conversations":[
		{"conversation_id":%q,"type":"direct","peer_id":%q,"group":null,"head":"3","read_upto":"1","unread":2,
		 "last_message":{"message_id":%q,"conversation_id":%q,"conversation_type":"direct","conversation_seq":"3","sender_id":%q,
		 "content":{"type":"text","text":"three"},"sent_at_ms":"*","version":1,"client_msg_id":null,"sender_device_id":null}},
		{"conversation_id":%q,"type":"direct","peer_id":%q,"head":"1","unread":0,"last_message":{"client_msg_id":"s1","sender_device_id":"d1"}},
		{"conversation_id":%q,"type":"direct","peer_id":%q,"head":"1","unread":0,"last_message":{"client_msg_id":"b1"}}]}`,
		direct(me, ann), ann.user, last["message_id"], direct(me, ann), ann.user,
		direct(me, me), me.user, direct(me, bob), bob.user))
	one := w.call(t, me.token, "GET", "/v1/conversations?user_id="+ann.user, "").is(200, fmt.Sprintf(`{"conversations":[{"conversation_id":%q}],"next":null}`, direct(me, ann)))
	if err := same(path(t, list, "conversations", 0), path(t, one, "conversations", 0)); err != nil {
		t.Errorf("alone it %v", err)
	}
	for _, user := range []string{cid.user, "nobody"} {
		w.call(t, me.token, "GET", "/v1/conversations?user_id="+user, "").is(200, `{"conversations":[],"inbox_head":"6"}`)
	}
	w.call(t, w.someone(t).token, "GET", "/v1/conversations", "").is(200, `{"conversations":[],"next":null,"inbox_epoch":"*"}`)
}

// The list comes in pages; next is the cursor of the page that follows, left out at
// the end.
func testPagesOfConversations(t *testing.T, w *world) {
	me := w.someone(t)
	const n = 7
	var want []string
	for i := range n {
		peer := w.someone(t)
		w.message(t, peer, me.user, "m", fmt.Sprint(i))
		want = append([]string{direct(me, peer)}, want...)
	}
	w.waitHead(t, me, n)
	for _, limit := range []int{1, 2, 3, 6, 7, 8, 300} {
		var got []string
		cursor := ""
		for {
			page := w.call(t, me.token, "GET", fmt.Sprintf("/v1/conversations?limit=%d&cursor=%s", limit, url.QueryEscape(cursor)), "").
				is(200, `{"inbox_head":"7"}`)
			if items := list(page["conversations"]); len(items) > limit || len(items) == 0 {
				t.Fatalf("limit %d: %d items", limit, len(items))
			}
			for _, item := range list(page["conversations"]) {
				got = append(got, object(item)["conversation_id"].(string))
			}
			if page["next"] == nil {
				break
			}
			cursor = page["next"].(string)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
	w.call(t, me.token, "GET", "/v1/conversations?limit=-1", "").problem("invalid")
	w.call(t, me.token, "GET", "/v1/conversations?cursor=nonsense!", "").problem("invalid")
}

// History is by conversation seq, ascending, both bounds exclusive: with after from
// there on, else the newest below before; has_more is meant in that direction.
func testHistory(t *testing.T, w *world) {
	ann, bob, cid := w.someone(t), w.someone(t), w.someone(t)
	w.fill(t, ann, bob, 210)
	at := "/v1/conversations/" + direct(ann, bob) + "/messages"
	for query, row := range map[string]struct {
		first, last int64
		more        bool
	}{
		"":                       {161, 210, true},
		"?limit=0":               {161, 210, true},
		"?limit=3":               {208, 210, true},
		"?limit=201":             {11, 210, true},
		"?before=0&limit=3":      {208, 210, true},
		"?before=12&limit=200":   {1, 11, false},
		"?before=11&limit=10":    {1, 10, false},
		"?before=12&limit=10":    {2, 11, true},
		"?before=1000&limit=2":   {209, 210, true},
		"?before=1":              {0, 0, false},
		"?after=0":               {1, 50, true},
		"?after=0&limit=1":       {1, 1, true},
		"?after=0&limit=500":     {1, 200, true},
		"?after=200&limit=10":    {201, 210, false},
		"?after=200&limit=9":     {201, 209, true},
		"?after=210":             {0, 0, false},
		"?after=1000":            {0, 0, false},
		"?after=5&before=9":      {6, 8, false},
		"?after=100&limit=100":   {101, 200, true},
		"?after=209&limit=1":     {210, 210, false},
		"?before=210&limit=1":    {209, 209, true},
		"?before=51&limit=50":    {1, 50, false},
		"?after=160&limit=50":    {161, 210, false},
		"?before=9999999999999&": {161, 210, true},
	} {
		page := w.call(t, bob.token, "GET", at+query, "").is(200, `{}`)
		messages := list(page["messages"])
		if page["messages"] == nil || (page["has_more"] == true) != row.more {
			t.Errorf("%s: has_more %v, %d messages", query, page["has_more"], len(messages))
		}
		if want := max(0, row.last-row.first+1); int64(len(messages)) != want && row.first != 0 || row.first == 0 && len(messages) != 0 {
			t.Errorf("%s: %d messages, want %d", query, len(messages), want)
			continue
		}
		for i, m := range messages {
			if seq := number(object(m)["conversation_seq"]); seq != row.first+int64(i) {
				t.Errorf("%s: message %d has seq %d", query, i, seq)
				break
			}
		}
	}
	for _, query := range []string{"?limit=-1", "?after=-1", "?before=-1", "?limit=x"} {
		w.call(t, bob.token, "GET", at+query, "").problem("invalid")
	}
	for _, id := range []string{direct(ann, bob), direct(cid, ann), "nonsense"} {
		w.call(t, cid.token, "GET", "/v1/conversations/"+id+"/messages", "").problem("not_found")
		w.call(t, cid.token, "GET", "/v1/conversations/"+id+"/reads", "").problem("not_found")
	}
}

// A message of the history is the one that was delivered, in the form for its reader.
func testHistoryShowsWhatWasDelivered(t *testing.T, w *world) {
	ann, bob := w.someone(t), w.someone(t)
	w.call(t, ann.token, "POST", "/v1/messages", fmt.Sprintf(`{"client_msg_id":"m1","to":{"user_id":%q},"attributes":{"k":"v"},
		"content":{"type":"card","text":"x","data":{"a":[1,{"b":null}]},"mentions":["all"]},"options":{"expires_in":60}}`, bob.user)).is(200, `{}`)
	for _, d := range []device{ann, bob} {
		c := w.login(t, wsText(), d)
		delivered := c.upto(1)["message"]
		history := w.call(t, d.token, "GET", "/v1/conversations/"+direct(ann, bob)+"/messages", "").is(200, `{"has_more":false}`)
		if err := same(delivered, path(t, history, "messages", 0)); err != nil {
			t.Errorf("history %v", err)
		}
		list := w.call(t, d.token, "GET", "/v1/conversations", "").is(200, `{}`)
		if err := same(delivered, path(t, list, "conversations", 0, "last_message")); err != nil {
			t.Errorf("last_message %v", err)
		}
	}
}

// Who has read how far, of all members.
func testReads(t *testing.T, w *world) {
	ann, bob := w.someone(t), w.someone(t)
	w.fill(t, ann, bob, 3)
	body := fmt.Sprintf(`{"conversation_id":%q,"upto":"2"}`, direct(ann, bob))
	w.call(t, bob.token, "POST", "/v1/inbox/read", body).is(200, `{"upto":"2","unread":1}`)
	for _, d := range []device{ann, bob} {
		reads := w.call(t, d.token, "GET", "/v1/conversations/"+direct(ann, bob)+"/reads", "").is(200, `{"reads":"*"}`)
		upto := map[any]int64{}
		for _, read := range list(reads["reads"]) {
			upto[object(read)["user_id"]] = number(object(read)["upto"])
		}
		if upto[bob.user] != 2 || upto[ann.user] != 0 {
			t.Errorf("reads %v", reads)
		}
	}
}
