package test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// visitor is a device in rooms on the SDK.
type visitor struct {
	client.NopHandler
	t      *testing.T
	userID string
	client *client.Client
	api    *client.API

	mu      sync.Mutex
	changed chan struct{}
	upto    map[string]int64
	seqs    map[string][]int64 // of messages, by room
	events  []*imv1.Entry
	skipped map[string]int
	ended   map[string]error
	signals []*imv1.Signal
}

func newVisitor(t *testing.T, s *server, userID string, change func(*client.Config)) *visitor {
	t.Helper()
	v := &visitor{
		t: t, userID: userID, changed: make(chan struct{}), upto: map[string]int64{}, seqs: map[string][]int64{},
		skipped: map[string]int{}, ended: map[string]error{},
	}
	config := client.Config{
		Server: s.http, DeviceID: im.NewID(), Platform: "desktop", Handler: v, HTTPClient: s.web,
		MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond,
	}
	change(&config)
	config.Tokens = s.tokens(userID, config.DeviceID, config.Platform)
	v.api = s.api().WithToken(config.Tokens.AccessToken)
	var err error
	if v.client, err = client.New(config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := v.client.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.client.Close(context.Background()) })
	return v
}

func (v *visitor) join(room string) *imv1.JoinReply {
	v.t.Helper()
	reply, err := v.joinAfter(room, -1)
	if err != nil {
		v.t.Fatalf("join %s: %v", room, err)
	}
	return reply
}

func (v *visitor) joinAfter(room string, after int64) (*imv1.JoinReply, error) {
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	reply, err := v.client.JoinRoom(ctx, room, after)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.upto[room] = max(v.upto[room], reply.GetUpto())
	return reply, err
}

func (v *visitor) say(room, words string) (client.Ack, error) {
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	return v.client.Send(ctx, client.ToRoom(room), client.TextContent(words), client.SendOptions{})
}

// Room checks that what comes follows on what was.
func (v *visitor) Room(_ context.Context, d *client.RoomDelivery) {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer func() { close(v.changed); v.changed = make(chan struct{}) }()
	if d.Ended != nil {
		v.ended[d.RoomID] = d.Ended
		return
	}
	if known, ok := v.upto[d.RoomID]; ok && d.After > known {
		v.t.Errorf("%s has a gap in %s: %d to %d", v.userID, d.RoomID, known, d.After)
	}
	if n := len(d.Messages) + len(d.Events) + d.Skipped; int64(n) != d.Upto-d.After {
		v.t.Errorf("%s: %d events and %d skipped in (%d, %d]", v.userID, len(d.Messages)+len(d.Events), d.Skipped, d.After, d.Upto)
	}
	v.upto[d.RoomID] = d.Upto
	for _, m := range d.Messages {
		v.seqs[d.RoomID] = append(v.seqs[d.RoomID], m.GetConversationSeq())
	}
	v.events = append(v.events, d.Events...)
	v.skipped[d.RoomID] += d.Skipped
}

func (v *visitor) Signal(_ context.Context, s *imv1.Signal) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.signals = append(v.signals, s)
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *visitor) until(what string, is func() bool) {
	v.t.Helper()
	timeout := time.After(patience)
	for {
		v.mu.Lock()
		done, changed := is(), v.changed
		state := fmt.Sprintf("upto %v, skipped %v, ended %v", v.upto, v.skipped, v.ended)
		v.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			v.t.Fatalf("%s waits for: %s (%s)", v.userID, what, state)
		}
	}
}

var roomTransports = map[string]func(*client.Config){"text over websocket": textSocket, "protobuf over tcp": binaryTCP}

// Users talk in a room on both roomTransports: everybody sees one order, the sender included,
// and who comes later the latest.
func TestRoomTalk(t *testing.T) {
	s := startHere(t, nil)
	users := s.users("ann", "bob", "eve")
	conversation, err := s.service().CreateRoom(t.Context(), "lobby", "Lobby")
	if err != nil || conversation != im.RoomConversation("lobby") {
		t.Fatalf("created %q, %v", conversation, err)
	}
	ann, bob := newVisitor(t, s, users[0], textSocket), newVisitor(t, s, users[1], binaryTCP)
	if _, err := ann.say("lobby", "too early"); codeOf(err) != im.Forbidden {
		t.Errorf("who has not joined sends: %v", err)
	}
	if reply := ann.join("lobby"); reply.GetHead() != 1 || reply.GetOnline() != 1 || len(reply.GetEvents()) != 1 {
		t.Errorf("the first joins and sees %v", reply)
	}
	if reply := bob.join("lobby"); reply.GetOnline() != 2 || reply.GetHasMore() {
		t.Errorf("the second joins and sees %v", reply)
	}
	var wait sync.WaitGroup
	for _, v := range []*visitor{ann, bob} {
		wait.Go(func() {
			for n := range 30 {
				if _, err := v.say("lobby", fmt.Sprint(n)); err != nil {
					t.Errorf("say: %v", err)
				}
			}
		})
	}
	wait.Wait()
	for _, v := range []*visitor{ann, bob} {
		v.until("all", func() bool { return v.upto["lobby"] == 61 })
		if seqs := v.seqs["lobby"]; len(seqs) != 60 || !slices.IsSorted(seqs) || v.skipped["lobby"] > 0 {
			t.Errorf("%s has %v, %d skipped", v.userID, seqs, v.skipped["lobby"])
		}
	}
	eve := newVisitor(t, s, users[2], textSocket)
	if reply := eve.join("lobby"); len(reply.GetMessages()) != 50 || reply.GetUpto() != 61 || reply.GetOnline() != 3 {
		t.Errorf("who comes later sees %d messages up to %d, %d online", len(reply.GetMessages()), reply.GetUpto(), reply.GetOnline())
	}
	if reply, err := eve.joinAfter("lobby", 2); err != nil || len(reply.GetMessages()) != 59 || reply.GetMessages()[0].GetConversationSeq() != 3 {
		t.Errorf("pulled after 2: %v, %v", reply, err)
	}
	room, err := eve.api.Room(t.Context(), "lobby")
	if err != nil || room.Name != "Lobby" || room.Online != 3 || room.Head != 61 {
		t.Errorf("the room is %+v, %v", room, err)
	}
	history, _, err := eve.api.History(t.Context(), conversation, client.HistoryQuery{Limit: 5})
	if err != nil || len(history) != 5 {
		t.Errorf("history of who is in: %d, %v", len(history), err)
	}
	if err := eve.client.LeaveRoom(t.Context(), "lobby"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := eve.api.History(t.Context(), conversation, client.HistoryQuery{Limit: 5}); codeOf(err) != im.Forbidden {
		t.Errorf("history of who has left: %v", err)
	}
	if _, err := eve.say("lobby", "late"); codeOf(err) != im.Forbidden {
		t.Errorf("who has left sends: %v", err)
	}
	if err := eve.client.LeaveRoom(t.Context(), "lobby"); codeOf(err) != im.NotFound {
		t.Errorf("left twice: %v", err)
	}
	if list, err := ann.api.Conversations(t.Context(), client.ConversationQuery{}); err != nil || len(list.Conversations) != 0 {
		t.Errorf("a room is in the list: %v, %v", list, err)
	}
}

// What is not there is not found, who may not gets forbidden, and nothing changes.
func TestRoomRefusals(t *testing.T) {
	for name, transport := range roomTransports {
		t.Run(name, func(t *testing.T) {
			s := startHere(t, map[string]string{"features.user_rooms": "true", "session.rooms": "2"})
			users := s.users("ann", "bob")
			ann, bob := newVisitor(t, s, users[0], transport), newVisitor(t, s, users[1], transport)
			if _, err := bob.joinAfter("nowhere", -1); codeOf(err) != im.NotFound {
				t.Errorf("joined nowhere: %v", err)
			}
			if _, err := bob.say("nowhere", "x"); codeOf(err) != im.NotFound {
				t.Errorf("sent to nowhere: %v", err)
			}
			for _, room := range []string{"a", "b", "c"} {
				if _, err := ann.api.CreateRoom(t.Context(), room, "Room "+room); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := bob.api.CreateRoom(t.Context(), "a", "Mine"); codeOf(err) != im.Conflict {
				t.Errorf("made twice: %v", err)
			}
			bob.join("a")
			bob.join("b")
			if _, err := bob.joinAfter("c", -1); codeOf(err) != im.TooLarge {
				t.Errorf("joined a third: %v", err)
			}
			forbidden(t, map[string]error{
				"change":   bob.api.ChangeRoom(t.Context(), "a", client.RoomChanges{Name: new("Mine")}),
				"dissolve": bob.api.DissolveRoom(t.Context(), "a"),
				"ban":      bob.api.BanFromRoom(t.Context(), "a", users[0], 0),
				"mute":     bob.api.MuteInRoom(t.Context(), "a", users[0], 0),
				"unmute":   bob.api.UnmuteInRoom(t.Context(), "a", users[0]),
				"owner":    s.service().BanFromRoom(t.Context(), "a", users[0], 0),
				"list":     listed(bob.api.Banned(t.Context(), "a", "", 0)),
			})
			if room, err := bob.api.Room(t.Context(), "a"); err != nil || room.Name != "Room a" || room.Head != 1 || room.OwnerID != users[0] {
				t.Errorf("the room is %+v, %v", room, err)
			}
		})
	}
}

func listed(_ []client.Restriction, _ string, err error) error { return err }

func forbidden(t *testing.T, got map[string]error) {
	t.Helper()
	for what, err := range got {
		if codeOf(err) != im.Forbidden {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The owner and the service key moderate: the sequencer refuses who is muted or banned,
// and the gateways let go who is banned.
func TestRoomModeration(t *testing.T) {
	for name, transport := range roomTransports {
		t.Run(name, func(t *testing.T) {
			s := startHere(t, map[string]string{"features.user_rooms": "true"})
			users := s.users("ann", "bob", "eve")
			ann, bob := newVisitor(t, s, users[0], transport), newVisitor(t, s, users[1], transport)
			if _, err := ann.api.CreateRoom(t.Context(), "a", "A"); err != nil {
				t.Fatal(err)
			}
			ann.join("a")
			bob.join("a")
			must(t, ann.api.MuteInRoom(t.Context(), "a", users[1], time.Now().Add(time.Hour).UnixMilli()))
			if _, err := bob.say("a", "muted"); codeOf(err) != im.Forbidden {
				t.Errorf("who is muted sends: %v", err)
			}
			must(t, ann.api.MuteInRoom(t.Context(), "a", users[2], 0))
			muted, next, err := ann.api.Muted(t.Context(), "a", "", 1)
			must(t, err)
			more, end, err := ann.api.Muted(t.Context(), "a", next, 1)
			if both := append(muted, more...); err != nil || len(both) != 2 || end != "" || both[0].UserID != min(users[1], users[2]) || both[1].UserID != max(users[1], users[2]) {
				t.Errorf("muted are %v, then %q; %v", both, end, err)
			}
			must(t, s.service().UnmuteInRoom(t.Context(), "a", users[1]))
			if _, err := bob.say("a", "again"); err != nil {
				t.Errorf("who is no longer muted sends: %v", err)
			}
			must(t, ann.api.ChangeRoom(t.Context(), "a", client.RoomChanges{MuteAll: new(true)}))
			if _, err := bob.say("a", "all are muted"); codeOf(err) != im.Forbidden {
				t.Errorf("all are muted: %v", err)
			}
			if _, err := ann.say("a", "but the owner"); err != nil {
				t.Errorf("the owner sends: %v", err)
			}
			must(t, ann.api.BanFromRoom(t.Context(), "a", users[1], 0))
			bob.until("the end", func() bool { return bob.ended["a"] != nil })
			if codeOf(bob.ended["a"]) != im.Forbidden {
				t.Errorf("ended with %v", bob.ended["a"])
			}
			if _, err := bob.joinAfter("a", -1); codeOf(err) != im.Forbidden {
				t.Errorf("who is banned joins: %v", err)
			}
			if _, err := bob.say("a", "x"); codeOf(err) != im.Forbidden {
				t.Errorf("who is banned sends: %v", err)
			}
			must(t, ann.api.UnbanInRoom(t.Context(), "a", users[1]))
			if reply := bob.join("a"); reply.GetOnline() != 2 {
				t.Errorf("back among %d", reply.GetOnline())
			}
			must(t, ann.api.DissolveRoom(t.Context(), "a"))
			for _, v := range []*visitor{ann, bob} {
				v.until("the end", func() bool { return codeOf(v.ended["a"]) == im.NotFound })
			}
			if _, err := bob.joinAfter("a", -1); codeOf(err) != im.NotFound {
				t.Errorf("joins what is dissolved: %v", err)
			}
			if _, err := ann.api.Room(t.Context(), "a"); codeOf(err) != im.NotFound {
				t.Errorf("reads what is dissolved: %v", err)
			}
		})
	}
}

// Signals go to all others in the room, and not to who is not.
func TestRoomSignals(t *testing.T) {
	s := startHere(t, nil)
	users := s.users("ann", "bob", "eve")
	if _, err := s.service().CreateRoom(t.Context(), "a", "A"); err != nil {
		t.Fatal(err)
	}
	all := map[string]*visitor{}
	for i, transport := range []func(*client.Config){textSocket, binaryTCP, textSocket} {
		all[users[i]] = newVisitor(t, s, users[i], transport)
	}
	ann, bob, eve := all[users[0]], all[users[1]], all[users[2]]
	ann.join("a")
	bob.join("a")
	must(t, eve.client.Signal(client.ToRoom("a"), "wave", nil)) // she is not in
	must(t, ann.client.Signal(client.ToRoom("a"), "typing", nil))
	bob.until("a signal", func() bool { return len(bob.signals) == 1 })
	if got := bob.signals[0]; got.GetType() != "typing" || got.GetFrom().GetUserId() != users[0] || got.GetConversationId() != im.RoomConversation("a") {
		t.Errorf("signal %v", got)
	}
	for v := range maps.Values(all) {
		if v != bob && len(v.signals) > 0 {
			t.Errorf("%s has %v", v.userID, v.signals)
		}
	}
}

// What a room says stays within max_frame also where JSON makes six times as much of it; what
// has no room in the answer to a join is read behind it.
func TestAJoinStaysWithinMaxFrame(t *testing.T) {
	s := startHere(t, nil)
	users := s.users("ann", "bob", "eve")
	if _, err := s.service().CreateRoom(t.Context(), "r", "R"); err != nil {
		t.Fatal(err)
	}
	ann := newVisitor(t, s, users[0], binaryTCP)
	ann.join("r")
	for range 6 {
		if _, err := ann.say("r", strings.Repeat("\x01", 58_000)); err != nil {
			t.Fatal(err)
		}
	}
	device := im.NewID()
	r, _ := s.raw(t, true, wire.Text, authOf(s.tokens(users[2], device, "ios"), device, "ios"))
	r.send(wire.OpJoin, &imv1.Join{RoomId: "r"})
	if _, data, err := r.socket.ReadMessage(); err != nil || len(data) > im.MaxServerFrameBytes || len(data) < 300_000 {
		t.Errorf("an answer of %d bytes; %v", len(data), err)
	}
	bob := newVisitor(t, s, users[1], textSocket)
	_, err := bob.joinAfter("r", 0)
	must(t, err)
	bob.until("all that was said", func() bool { return bob.upto["r"] == 7 && bob.skipped["r"] == 0 })
}
