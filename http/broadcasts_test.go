package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

func TestRequestsForBroadcasts(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("ann")
	path := "/v1/admin/broadcast"
	ask := func(to, rest string) string {
		return `{"to":` + to + `,"content":{"type":"text","text":"hear"}` + rest + `}`
	}
	w.call("POST", path, token, ask(`{"all":true}`, "")).refused("by a user", im.Unauthenticated)
	w.call("POST", path, "", ask(`{"all":true}`, "")).refused("by nobody", im.Unauthenticated)
	for what, body := range map[string]string{
		"to nobody": ask(`{}`, ""), "to two kinds": ask(`{"all":true,"room_id":"r"}`, ""), "to all and none": ask(`{"user_ids":[]}`, ""),
		"too fast": ask(`{"all":true}`, `,"per_second":10001`), "backwards": ask(`{"all":true}`, `,"per_second":-1`),
		"too important": ask(`{"all":true}`, `,"priority":10`), "to an odd id": ask(`{"user_ids":["a\u0007"]}`, ""),
		"of an odd type": `{"to":{"all":true},"content":{"type":"odd"}}`, "of no text": `{"to":{"all":true},"content":{"type":"text"}}`,
		"of nothing": `{"to":{"all":true}}`, "of an image without one": `{"to":{"all":true},"content":{"type":"image"}}`,
		"a reply": `{"to":{"all":true},"content":{"type":"text","text":"x","reply_to":"5"}}`,
	} {
		w.call("POST", path, serviceKey, body).refused(what, im.Invalid)
	}
	many := strings.Repeat(`"u",`, im.MaxBroadcastUsers)
	w.call("POST", path, serviceKey, ask(`{"user_ids":[`+many+`"u"]}`, "")).refused("to too many", im.TooLarge)
	if n := len(w.broadcasts.broadcasts); n != 0 {
		t.Fatalf("%d were kept of what was refused", n)
	}

	first := w.call("POST", path, serviceKey, ask(`{"user_ids":["b","a","b"]}`, `,"priority":3`), "Idempotency-Key", "k").ok("begin", 201)
	for field, want := range map[string]string{
		"to": `{"user_ids":["a","b"]}`, "per_second": "100", "priority": "3", "state": `"running"`, "sent": `"0"`,
	} {
		first.is(field, want)
	}
	again := w.call("POST", path, serviceKey, ask(`{"user_ids":["a","b"]}`, `,"priority":3`), "Idempotency-Key", "k").ok("repeat", 201)
	if again.str("broadcast_id") != first.str("broadcast_id") {
		t.Error("a repeat began another")
	}
	w.call("POST", path, serviceKey, ask(`{"all":true}`, ""), "Idempotency-Key", "k").refused("another with its key", im.Conflict)
	one := path + "/" + first.str("broadcast_id")
	w.call("GET", one, serviceKey, nil).ok("read", 200).is("state", `"running"`)
	w.call("GET", path, serviceKey, nil).ok("list", 200).is("next", "null")
	w.call("GET", path+"?cursor=odd!", serviceKey, nil).refused("list from an odd place", im.Invalid)
	w.call("GET", path+"?limit=-1", serviceKey, nil).refused("list fewer than none", im.Invalid)
	w.call("POST", path, serviceKey, ask(`{"user_ids":["c"]}`, `,"priority":1`)).ok("begin another", 201)
	page := w.call("GET", path+"?limit=1", serviceKey, nil).ok("list one", 200)
	rest := w.call("GET", path+"?limit=1&cursor="+page.str("next"), serviceKey, nil).ok("list the other", 200)
	rest.is("next", "null")
	if both := page.text + rest.text; strings.Count(both, `"broadcast_id"`) != 2 || !strings.Contains(both, first.str("broadcast_id")) {
		t.Errorf("pages of one: %s", both)
	}
	card := `{"to":{"all":true},"content":{"type":"card","data":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8}}}`
	for range 5 {
		w.call("POST", path, serviceKey, card, "Idempotency-Key", "card").ok("a card, again and again", 201)
	}
	w.call("GET", one, token, nil).refused("read by a user", im.Unauthenticated)
	w.call("GET", path+"/none", serviceKey, nil).refused("read what is not there", im.NotFound)
	w.call("DELETE", path+"/none", serviceKey, nil).refused("cancel what is not there", im.NotFound)
	w.call("DELETE", one, token, nil).refused("cancel by a user", im.Unauthenticated)
	w.call("DELETE", one, serviceKey, nil).ok("cancel", 204)
	w.call("GET", one, serviceKey, nil).ok("read what is cancelled", 200).is("state", `"cancelled"`)

	w.broadcasts.errs = []error{im.ErrUnknown}
	w.call("POST", path, serviceKey, ask(`{"all":true}`, ""), "Idempotency-Key", "u").refused("of an unknown outcome", im.Unavailable)
	w.call("POST", path, serviceKey, ask(`{"all":true}`, ""), "Idempotency-Key", "u").ok("asked again", 201)
	for n := range im.MaxRunningBroadcasts {
		w.broadcasts.broadcasts[fmt.Sprint(n)] = im.Broadcast{ID: fmt.Sprint(n)}
	}
	w.call("POST", path, serviceKey, ask(`{"all":true}`, "")).refused("one too many", im.RateLimited)
}

// audience is a pipeline that keeps who has got what, and when.
type audience struct {
	fakePipeline
	mu    sync.Mutex
	got   map[string]int // by client_msg_id, which names broadcast and user
	to    []string       // users in the order in which they came
	at    []time.Time
	fails func(user string, try int) error
}

func newAudience() *audience { return &audience{got: map[string]int{}} }

func (a *audience) Publish(_ context.Context, p *imv1.Publish) (*imv1.Reply, error) {
	send := &imv1.Send{}
	if err := send.UnmarshalVT(p.GetVouched().GetSend()); err != nil || !p.GetVouched().ByService {
		return nil, im.Errorf(im.Internal, "it is no broadcast: %v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got[send.ClientMsgId]++
	user := send.To.GetUserId()
	if a.fails != nil {
		if err := a.fails(user, a.got[send.ClientMsgId]); err != nil {
			return nil, err
		}
	}
	if a.got[send.ClientMsgId] == 1 || a.fails != nil {
		a.to, a.at = append(a.to, user), append(a.at, time.Now())
	}
	return &imv1.Reply{}, nil
}

// broadcasting is a server that has nothing but broadcasts.
func broadcasting(id string, store *memoryBroadcasts, to Pipeline) *broadcaster {
	return newBroadcaster(&Server{
		Services: Services{Accounts: &memoryStore{}, Broadcasts: store, Pipeline: to}, config: Config{ServerID: id, Now: time.Now}, log: slog.New(slog.DiscardHandler),
	})
}

func fakeUsers(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("user%04d", i))
	}
	return ids
}

func (m *memoryBroadcasts) keep(t *testing.T, b im.Broadcast) {
	t.Helper()
	b.Content = []byte{}
	if err := m.InsertBroadcast(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// In no second more go out than may, and nobody gets it twice.
func TestABroadcastKeepsItsSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, to := newMemoryBroadcasts(), newAudience()
		store.users = fakeUsers(95)
		store.keep(t, im.Broadcast{ID: "b", All: true, PerSecond: 10, SenderID: "user0003"})
		b := broadcasting("one", store, to)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { b.run(ctx, nil) })
		b.begin("b")
		time.Sleep(time.Minute)
		cancel()
		running.Wait()
		seconds := map[int64]int{}
		for _, at := range to.at {
			seconds[at.UnixNano()/1e9]++
		}
		for second, n := range seconds {
			if n > 10 {
				t.Errorf("%d in second %d", n, second)
			}
		}
		if got, _ := store.Broadcast(ctx, "b"); got.State != im.BroadcastDone || got.Sent != 94 || len(to.to) != 94 || len(to.got) != 94 {
			t.Errorf("sent to %d of 94, %d different; it is %+v", len(to.to), len(to.got), got.BroadcastProgress)
		}
	})
}

// What a user or the pipeline refuses for good is counted; what it refuses for now, and
// what a store may not have kept, is sent again, under the same id.
func TestABroadcastGoesOnThroughFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, to := newMemoryBroadcasts(), newAudience()
		store.users = fakeUsers(40)
		store.errs = []error{nil, nil, im.ErrUnknown, errors.New("away")}
		to.fails = func(user string, try int) error {
			switch {
			case user == "user0007":
				return im.Errorf(im.Forbidden, "blocked")
			case try == 1 && user > "user0030":
				return im.Retry(im.Unavailable, time.Second, "later")
			}
			return nil
		}
		store.keep(t, im.Broadcast{ID: "b", All: true, PerSecond: 10})
		b := broadcasting("one", store, to)
		b.begin("b")
		ctx := t.Context()
		for range 100 {
			if !b.step(ctx) {
				break
			}
		}
		if got, _ := store.Broadcast(ctx, "b"); got.State != im.BroadcastDone || got.Sent != 39 || got.Refused != 1 || len(to.got) != 40 {
			t.Errorf("%d messages; it is %+v", len(to.got), got.BroadcastProgress)
		}
	})
}

// The highest priority goes first, also where another server has it.
func TestBroadcastsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, to := newMemoryBroadcasts(), newAudience()
		low, high := broadcasting("low", store, to), broadcasting("high", store, to)
		store.keep(t, im.Broadcast{ID: "low", UserIDs: []string{"a", "b", "c"}, PerSecond: 1, Priority: 1})
		low.begin("low")
		low.step(t.Context())
		store.keep(t, im.Broadcast{ID: "high", UserIDs: []string{"x", "y"}, PerSecond: 1, Priority: 2})
		high.begin("high")
		for range 4 {
			high.step(t.Context())
			low.step(t.Context())
		}
		low.step(t.Context())
		if got, want := fmt.Sprint(to.to), "[a x y b c]"; got != want {
			t.Errorf("sent to %s, want %s", got, want)
		}
	})
}

// A broadcast is one server's; when that has gone, another goes on where it was. Who was
// only slow notices that it is not its any more.
func TestAnotherServerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, to := newMemoryBroadcasts(), newAudience()
		store.keep(t, im.Broadcast{ID: "b", UserIDs: fakeUsers(6), PerSecond: 1})
		first, second := broadcasting("first", store, to), broadcasting("second", store, to)
		first.live, second.live = []string{"first", "second"}, []string{"first", "second"}
		first.begin("b")
		if !first.step(t.Context()) || second.step(t.Context()) || len(to.to) != 1 {
			t.Fatalf("the first server sends, the second leaves it alone; sent to %v", to.to)
		}
		second.live = []string{"second"}
		if !second.step(t.Context()) || len(to.to) != 2 {
			t.Fatalf("the second does not go on; sent to %v", to.to)
		}
		time.Sleep(2 * claimEvery)
		first.step(t.Context()) // finds another's term, and looks again
		if first.step(t.Context()) || len(to.to) != 2 {
			t.Errorf("the first goes on with what is not its any more; sent to %v", to.to)
		}
		for second.step(t.Context()) {
		}
		if len(to.to) != 6 || len(to.got) != 6 {
			t.Errorf("sent to %v", to.to)
		}
	})
}

// slowAudience takes a quarter of a second for each message.
type slowAudience struct{ *audience }

func (a *slowAudience) Publish(ctx context.Context, p *imv1.Publish) (*imv1.Reply, error) {
	select {
	case <-time.After(250 * time.Millisecond):
		return a.audience.Publish(ctx, p)
	case <-ctx.Done():
		return nil, im.Retry(im.Unavailable, 0, "no answer")
	}
}

// A pipeline that is too slow for a broadcast's speed slows it, and nothing else.
func TestASlowPipelineSlowsABroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, to := newMemoryBroadcasts(), newAudience()
		for i := range 10_000 {
			store.users = append(store.users, fmt.Sprintf("user%05d", i))
		}
		store.keep(t, im.Broadcast{ID: "b", All: true, PerSecond: 10_000, SenderID: "s"})
		b := broadcasting("one", store, &slowAudience{to})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { b.run(ctx, nil) })
		b.begin("b")
		time.Sleep(2 * time.Minute)
		cancel()
		running.Wait()
		if p := store.broadcasts["b"].BroadcastProgress; p.State != im.BroadcastDone || p.Sent != 10_000 || len(to.got) != 10_000 {
			t.Errorf("after two minutes: %+v, %d have got it", p, len(to.got))
		}
	})
}

// overtaken is a store in which the former owner renews its claim, once, between another's
// look at it and its own claim.
type overtaken struct {
	*memoryBroadcasts
	once sync.Once
}

func (o *overtaken) LastTerm(ctx context.Context, partition string) (im.Term, error) {
	last, err := o.memoryBroadcasts.LastTerm(ctx, partition)
	o.once.Do(func() {
		err = errors.Join(err, o.InsertTerm(ctx, im.Term{Partition: partition, Term: last.Term + 1, Owner: "gone"}))
	})
	return last, err
}

// Who loses a claim to a server that then stops looks again, and sends meanwhile what is
// its own.
func TestATakeoverThatLosesARace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, to := newMemoryBroadcasts(), newAudience()
		store.users = fakeUsers(30)
		store.keep(t, im.Broadcast{ID: "b", All: true, PerSecond: 10, SenderID: "s"})
		store.keep(t, im.Broadcast{ID: "own", All: true, PerSecond: 10, SenderID: "s", CreatedAtMs: 1})
		store.terms["broadcast.b"] = []im.Term{{Partition: "broadcast.b", Term: 1, Owner: "gone"}}
		store.terms["broadcast.own"] = []im.Term{{Partition: "broadcast.own", Term: 1, Owner: "two"}}
		b := broadcasting("two", store, to)
		b.server.Broadcasts = &overtaken{memoryBroadcasts: store}
		ctx, cancel := context.WithCancel(t.Context())
		lists := make(chan []im.Server)
		var running sync.WaitGroup
		running.Go(func() { b.run(ctx, lists) })
		lists <- []im.Server{{ID: "two", Role: "http"}}
		synctest.Wait()
		if own, err := store.Broadcast(t.Context(), "own"); err != nil || own.Sent != 10 {
			t.Errorf("beside a claim that was lost: %+v, %v", own, err)
		}
		time.Sleep(time.Minute)
		cancel()
		running.Wait()
		if p := store.broadcasts["b"].BroadcastProgress; p.State != im.BroadcastDone || p.Sent != 30 {
			t.Errorf("a minute later: %+v", p)
		}
	})
}
