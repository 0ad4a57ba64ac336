package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// exchange is one call: what the server must see and what it answers.
type exchange struct {
	name    string
	call    func(ctx context.Context, a *API) (any, error)
	request string // "METHOD /path?query body"
	status  int
	answer  string
	want    string // the result as JSON
}

var exchanges = []exchange{
	{
		"register", func(ctx context.Context, a *API) (any, error) { return a.Register(ctx, "Bob", "password", "Bobby") },
		`POST /v1/users {"nickname":"Bobby","password":"password","username":"Bob"}`,
		201, `{"user_id":"u1"}`, `"u1"`,
	},
	{
		"log in", func(ctx context.Context, a *API) (any, error) {
			tokens, err := a.Login(ctx, "bob", "password", "d1", "web")
			tokens.ExpiresAt = time.Time{}
			return tokens, err
		},
		`POST /v1/sessions {"device_id":"d1","password":"password","platform":"web","username":"bob"}`,
		200, `{"access_token":"a","refresh_token":"r","expires_in":900,"user_id":"u1"}`,
		`{"user_id":"u1","access_token":"a","refresh_token":"r","expires_at":"0001-01-01T00:00:00Z"}`,
	},
	{
		"sign out", func(ctx context.Context, a *API) (any, error) { return nil, a.SignOut(ctx) },
		`DELETE /v1/sessions/current `, 204, ``, `null`,
	},
	{
		"gateway", func(ctx context.Context, a *API) (any, error) {
			return a.Gateway(ctx, TCP, []string{"s1", "s2"})
		},
		`GET /v1/gateway?exclude=s1&exclude=s2&transport=tcp `,
		200, `{"server_id":"s3","address":"h:1","url":"tcp://h:1"}`,
		`{"server_id":"s3","address":"h:1","url":"tcp://h:1"}`,
	},
	{
		"send", func(ctx context.Context, a *API) (any, error) {
			return a.SendMessage(ctx, newSend(ToUser("u2"), TextContent("hi"), SendOptions{ClientMsgID: "m"}))
		},
		`POST /v1/messages {"client_msg_id":"m","content":{"text":"hi","type":"text"},"to":{"user_id":"u2"}}`,
		200, `{"client_msg_id":"m","message_id":"9007199254740993","conversation_seq":"2","added":{"later":1}}`,
		`{"ClientMsgID":"m","MessageID":9007199254740993,"ConversationID":"","ConversationSeq":2,"SentAtMs":0,"Duplicate":false}`,
	},
	{
		"inbox", func(ctx context.Context, a *API) (any, error) {
			after := int64(0)
			page, err := a.Inbox(ctx, InboxQuery{After: &after, Limit: 2, InboxEpoch: "e"})
			return []any{page.GetHead(), page.GetEntries()[0].GetSeq(), page.GetHasMore()}, err
		},
		`GET /v1/inbox?after=0&inbox_epoch=e&limit=2 `,
		200, `{"entries":[{"seq":"1","kind":"later"}],"head":"7","has_more":true}`, `[7,1,true]`,
	},
	{
		"ack", func(ctx context.Context, a *API) (any, error) { return a.AckInbox(ctx, 5, "e") },
		`POST /v1/inbox/ack {"inbox_epoch":"e","seq":"5"}`, 200, `{"seq":"5"}`, `5`,
	},
	{
		"conversations", func(ctx context.Context, a *API) (any, error) {
			page, err := a.Conversations(ctx, ConversationQuery{Cursor: "c"})
			one := page.Conversations[0]
			return []any{one.ConversationID, one.Head, one.Unread, one.LastMessage.GetMessageId(), page.Next, page.InboxHead}, err
		},
		`GET /v1/conversations?cursor=c `,
		200, `{"conversations":[{"conversation_id":"d1","head":"3","unread":2,"last_message":{"message_id":"70"}}],"next":"n","inbox_head":9}`,
		`["d1",3,2,70,"n",9]`,
	},
	{
		"history", func(ctx context.Context, a *API) (any, error) {
			messages, more, err := a.History(ctx, "d1", HistoryQuery{Forward: true})
			return []any{len(messages), more}, err
		},
		`GET /v1/conversations/d1/messages?after=0 `, 200, `{"messages":[{},{}],"has_more":true}`, `[2,true]`,
	},
	{
		"reads", func(ctx context.Context, a *API) (any, error) { return a.Reads(ctx, "d1") },
		`GET /v1/conversations/d1/reads `, 200, `{"reads":[{"user_id":"u","upto":"4"}]}`, `[{"UserID":"u","Upto":4}]`,
	},
	{
		"find users", func(ctx context.Context, a *API) (any, error) { return a.FindUsers(ctx, "bob") },
		`GET /v1/users?limit=2&query=bob `, 200, `{"users":[{"user_id":"u","username":"bob","nickname":"B"}]}`,
		`[{"user_id":"u","username":"bob","nickname":"B"}]`,
	},
	{
		"ensure users", func(ctx context.Context, a *API) (any, error) {
			return a.EnsureUsers(ctx, []NewUser{{Username: "bob"}})
		},
		`POST /v1/service/users {"users":[{"username":"bob"}]}`,
		200, `{"users":[{"user_id":"u","username":"bob","created":true}]}`,
		`[{"user_id":"u","username":"bob","created":true}]`,
	},
}

func TestCalls(t *testing.T) {
	for _, e := range exchanges {
		t.Run(e.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				seen := r.Method + " " + r.URL.RequestURI() + " " + compact(body)
				if seen != e.request || r.Header.Get("Authorization") != "Bearer key" {
					t.Errorf("the server saw %s", seen)
				}
				w.WriteHeader(e.status)
				io.WriteString(w, e.answer) //nolint:errcheck // the client tells
			}))
			defer server.Close()
			got, err := e.call(t.Context(), NewAPI(server.URL+"/", server.Client()).WithToken("key"))
			if err != nil {
				t.Fatal(err)
			}
			if data, _ := json.Marshal(got); string(data) != e.want {
				t.Errorf("got %s, want %s", data, e.want)
			}
		})
	}
}

// compact takes out the spaces that protojson puts in at random and sorts keys.
func compact(body []byte) string {
	var value any
	if len(body) == 0 {
		return ""
	}
	if json.Unmarshal(body, &value) != nil {
		return string(body)
	}
	data, _ := json.Marshal(value)
	return string(data)
}

func TestProblemsAreTypedErrors(t *testing.T) {
	for _, c := range []struct {
		name, body, retryAfter string
		status                 int
		code                   im.Code
		after                  time.Duration
	}{
		{"a problem", `{"code":"rate_limited","detail":"slow down","retry_after_ms":1500}`, "2", 429, im.RateLimited, 1500 * time.Millisecond},
		{"the header alone", `{"code":"unavailable"}`, "3", 503, im.Unavailable, 3 * time.Second},
		{"out of order", `{"code":"out_of_order"}`, "", 409, im.OutOfOrder, 0},
		{"a proxy's page", `<html>`, "", 502, im.Unavailable, 0},
		{"no such path", ``, "", 404, im.Unavailable, 0},
		{"an odd status", ``, "", 418, im.Unavailable, 0},
		{"an odd failure", ``, "", 599, im.Unavailable, 0},
		{"a time before now", `{"code":"unavailable","retry_after_ms":-5}`, "-1", 503, im.Unavailable, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body) //nolint:errcheck // the client tells
			}))
			defer server.Close()
			var got *im.Error
			if err := NewAPI(server.URL, server.Client()).SignOut(t.Context()); !errors.As(err, &got) {
				t.Fatal(err)
			}
			if got.Code != c.code || got.RetryAfter != c.after {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestAnAnswerThatIsNoneIsNoTypedError(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<html>") //nolint:errcheck // the client tells
	}))
	defer server.Close()
	_, err := NewAPI(server.URL, server.Client()).Gateway(t.Context(), TCP, nil)
	var typed *im.Error
	if err == nil || errors.As(err, &typed) {
		t.Fatal(err)
	}
	server.Close()
	if _, err = NewAPI(server.URL, nil).Gateway(t.Context(), TCP, nil); err == nil || errors.As(err, &typed) {
		t.Fatal(err)
	}
}

// What another server than the API's says in plain text is passed on, a page is not.
func TestWhatIsSaidInPlainTextIsPassedOn(t *testing.T) {
	for kind, want := range map[string]string{"text/plain; charset=utf-8": "400 Bad Request: not here", "text/html": "400 Bad Request"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, "not here\n") //nolint:errcheck // the client tells
		}))
		var got *im.Error
		if err := NewAPI(server.URL, server.Client()).SignOut(t.Context()); !errors.As(err, &got) || got.Message != want {
			t.Errorf("%s: got %v", kind, err)
		}
		server.Close()
	}
}
