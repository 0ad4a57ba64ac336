package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

var journalTests = []testCase{
	{"who shares a conversation", sharing},
	{"connections begin and end, in any order", connectionsBeginAndEnd},
	{"connections come in pages, the newest first", connectionPages},
	{"an unknown outcome is recorded again", connectionsUnknown},
	{"who was seen last", lastSeen},
	{"old connections are swept, the newest never", sweepsConnections},
	{"progress says when a device had come so far", progressTimes},
	{"old progress is swept", sweepsProgress},
}

func sharing(t *testing.T, s StoreUnderTest) {
	for _, pair := range [][2]string{{"ann", "bob"}, {"cy", "dan"}, {"ann", "ann"}} {
		must(t, s.InsertEvents(background(), messages(direct(t, s, pair[0], pair[1]), pair[0], 1, 1), nil))
	}
	never := direct(t, s, "ann", "gus") // who have never talked
	block := message(never, "ann", 1)
	block.Kind = im.KindContact
	must(t, s.InsertEvents(background(), []im.Event{block}, nil))
	group(t, s, "g",
		im.Member{UserID: "ann", JoinedSeq: 1, LeftSeq: im.Forever},
		im.Member{UserID: "cy", JoinedSeq: 1, LeftSeq: im.Forever},
		im.Member{UserID: "eve", JoinedSeq: 1, LeftSeq: 5})
	group(t, s, "h",
		im.Member{UserID: "ann", JoinedSeq: 1, LeftSeq: 7},
		im.Member{UserID: "dan", JoinedSeq: 1, LeftSeq: im.Forever})
	blocked := im.DirectConversation("ann", "fay")
	must(t, s.Project(background(), []im.Conversation{{ID: blocked, Type: im.Direct, Key: "ann\x00fay"}}, []im.Member{
		{ConversationID: blocked, UserID: "ann", JoinedSeq: 1, LeftSeq: im.Forever, Blocked: true, Seq: 7},
		{ConversationID: blocked, UserID: "fay", JoinedSeq: 1, LeftSeq: im.Forever, Seq: 9},
	}))
	group(t, s, "i", // who has blocked is not seen in groups either, and sees the blocked one
		im.Member{UserID: "ann", JoinedSeq: 1, LeftSeq: im.Forever},
		im.Member{UserID: "fay", JoinedSeq: 1, LeftSeq: im.Forever})
	everybody := []string{"ann", "bob", "cy", "dan", "eve", "fay", "gus", "nobody"}
	for user, want := range map[string][]string{
		"ann": {"bob", "cy"}, "bob": {"ann"}, "cy": {"ann", "dan"}, "dan": {"cy"}, "eve": nil, "fay": {"ann"}, "gus": nil, "nobody": nil,
	} {
		found, err := s.Sharing(background(), user, everybody)
		must(t, err)
		var got []string
		for _, f := range found {
			got = append(got, f.UserID)
			if user == "fay" && f.UserID == "ann" && f.Seq != 9 {
				t.Errorf("what is known of the block has seq %d", f.Seq)
			}
		}
		slices.Sort(got)
		equal(t, "shared by "+user, got, want)
	}
	got, err := s.Sharing(background(), "ann", nil)
	must(t, err)
	equal(t, "of none", len(got), 0)
}

// connection is a user's nth, a minute after the one before.
func connection(user string, n int) im.Connection {
	return im.Connection{
		UserID: user, SessionID: fmt.Sprint("server.", n), DeviceID: uuidDevice, Platform: "web", Transport: "websocket",
		Remote: "10.0.0.1:4711", Client: "im/1", UserAgent: "Mozilla", OnlineAtMs: startMs + int64(n)*60_000,
	}
}

func ended(c im.Connection, reason string) im.Connection {
	c.OfflineAtMs, c.Reason, c.Client, c.UserAgent = c.OnlineAtMs+30_000, reason, "", ""
	return c
}

func connectionsOf(t *testing.T, s StoreUnderTest, q im.ConnectionQuery) []im.Connection {
	t.Helper()
	got, err := s.Connections(background(), q)
	must(t, err)
	return got
}

func connectionsBeginAndEnd(t *testing.T, s StoreUnderTest) {
	record := func(c ...im.Connection) { must(t, s.RecordConnections(background(), c)) }
	first, second, third := connection("u", 1), connection("u", 2), connection("u", 3)
	record(first)
	record(first) // told twice
	record(ended(first, "idle"))
	record(first, ended(first, "revoked")) // late, and another word on its end
	record(ended(second, "left"))
	record(second) // its beginning comes behind its end
	record(third, connection("v", 1))
	want := []im.Connection{third, second, first}
	want[1].OfflineAtMs, want[1].Reason = second.OnlineAtMs+30_000, "left"
	want[2].OfflineAtMs, want[2].Reason = first.OnlineAtMs+30_000, "idle"
	equal(t, "connections", connectionsOf(t, s, im.ConnectionQuery{UserID: "u", Limit: 10}), want)
	equal(t, "of nobody", len(connectionsOf(t, s, im.ConnectionQuery{UserID: "nobody", Limit: 10})), 0)
}

func connectionPages(t *testing.T, s StoreUnderTest) {
	var all []im.Connection
	for n := range 9 {
		c := connection("u", n)
		if c.OnlineAtMs = startMs + int64(n/3); n%2 == 0 { // three begin at once
			c.DeviceID = "other"
		}
		all = append(all, c)
	}
	must(t, s.RecordConnections(background(), all))
	slices.Reverse(all)
	for _, device := range []string{"", "other", uuidDevice} {
		var got []string
		q := im.ConnectionQuery{UserID: "u", DeviceID: device, Limit: 2}
		for {
			page := connectionsOf(t, s, q)
			for _, c := range page {
				got = append(got, c.SessionID)
			}
			if len(page) < 2 {
				break
			}
			q.Before = im.ConnectionCursor{OnlineAtMs: page[1].OnlineAtMs, SessionID: page[1].SessionID}
		}
		var want []string
		for _, c := range all {
			if device == "" || c.DeviceID == device {
				want = append(want, c.SessionID)
			}
		}
		equal(t, "sessions of "+device, got, want)
	}
}

func connectionsUnknown(t *testing.T, s StoreUnderTest) {
	rows := []im.Connection{connection("u", 1), ended(connection("u", 2), "left"), connection("v", 1), ended(connection("u", 1), "idle")}
	faulty := Faulty(s.Store, Script{"RecordConnections": {Refused, UnknownLost, UnknownHalf, UnknownDone}})
	for _, want := range []error{ErrRefused, im.ErrUnknown, im.ErrUnknown, im.ErrUnknown, nil} {
		mustBe(t, faulty.RecordConnections(background(), rows), want)
	}
	got := connectionsOf(t, s, im.ConnectionQuery{UserID: "u", Limit: 10})
	equal(t, "sessions", []string{got[0].SessionID, got[1].SessionID, got[1].Reason, got[0].Reason}, []string{"server.2", "server.1", "idle", "left"})
	equal(t, "rows", len(got), 2)
}

func lastSeen(t *testing.T, s StoreUnderTest) {
	long := connection("u", 1)
	long.OfflineAtMs, long.Reason = startMs+10*60_000, "left" // it ends behind those that began later
	must(t, s.RecordConnections(background(), []im.Connection{
		long, ended(connection("u", 2), "left"), connection("u", 3), connection("v", 4),
	}))
	got, err := s.LastSeen(background(), []string{"v", "nobody", "u"})
	must(t, err)
	equal(t, "seen", got, []int64{startMs + 4*60_000, 0, startMs + 10*60_000})
	got, err = s.LastSeen(background(), nil)
	must(t, err)
	equal(t, "of none", len(got), 0)
}

func sweepsConnections(t *testing.T, s StoreUnderTest) {
	var rows []im.Connection
	for n := 1; n <= 5; n++ {
		rows = append(rows, connection("u", n))
	}
	must(t, s.RecordConnections(background(), append(rows, connection("v", 1))))
	sweep := func(n, limit, want int) {
		t.Helper()
		got, err := s.SweepConnections(background(), "u", time.UnixMilli(startMs+int64(n)*60_000), limit)
		must(t, err)
		equal(t, "swept", got, want)
	}
	sweep(1, 10, 0) // not before it
	sweep(4, 2, 2)
	sweep(4, 2, 1)
	sweep(4, 2, 0)
	sweep(100, 10, 1)
	sweep(100, 10, 0)
	left := connectionsOf(t, s, im.ConnectionQuery{UserID: "u", Limit: 10})
	equal(t, "left", left, rows[4:])
	equal(t, "of another", len(connectionsOf(t, s, im.ConnectionQuery{UserID: "v", Limit: 10})), 1)
}

func progressTimes(t *testing.T, s StoreUnderTest) {
	row := func(device string, second, written, acked int64) im.Progress {
		return im.Progress{UserID: "u", DeviceID: device, AtMs: startMs + second*1000, Written: written, Acked: acked}
	}
	rows := []im.Progress{
		row(uuidDevice, 1, 5, 3), row(uuidDevice, 2, 8, 5), row("other", 2, 9, 9), row(uuidDevice, 9, 8, 8),
		{UserID: "v", DeviceID: "other", AtMs: startMs, Written: 99, Acked: 99},
	}
	must(t, s.AddProgress(background(), rows))
	must(t, s.AddProgress(background(), rows[:2])) // they may come twice
	must(t, s.AddProgress(background(), nil))
	at := func(second int64) int64 { return startMs + second*1000 }
	var keys []im.ProgressKey
	var want []im.ProgressTimes
	for _, c := range []struct {
		device        string
		seq, from     int64
		written, acks int64
	}{
		{uuidDevice, 3, 0, at(1), at(1)},
		{uuidDevice, 4, 0, at(1), at(2)},
		{uuidDevice, 8, 0, at(2), at(9)},
		{uuidDevice, 9, 0, 0, 0},
		{uuidDevice, 3, at(2), at(2), at(2)}, // nothing before it was put there
		{"other", 9, 0, at(2), at(2)},
		{"none", 1, 0, 0, 0},
	} {
		keys = append(keys, im.ProgressKey{UserID: "u", DeviceID: c.device, Seq: c.seq, FromMs: c.from})
		want = append(want, im.ProgressTimes{WrittenAtMs: c.written, AckedAtMs: c.acks})
	}
	got, err := s.FirstProgress(background(), keys)
	must(t, err)
	equal(t, "times", got, want)
	faulty := Faulty(s.Store, Script{"AddProgress": {Refused, UnknownHalf}})
	mustBe(t, faulty.AddProgress(background(), rows), ErrRefused)
	mustBe(t, faulty.AddProgress(background(), rows), im.ErrUnknown)
	must(t, faulty.AddProgress(background(), rows))
	got, err = s.FirstProgress(background(), keys)
	must(t, err)
	equal(t, "times again", got, want)
}

func sweepsProgress(t *testing.T, s StoreUnderTest) {
	var rows []im.Progress
	for n := int64(1); n <= 5; n++ {
		rows = append(rows, im.Progress{UserID: "u", DeviceID: "d", AtMs: startMs + n, Written: n, Acked: n})
	}
	must(t, s.AddProgress(background(), append(rows, im.Progress{UserID: "v", DeviceID: "d", AtMs: startMs, Written: 1, Acked: 1})))
	for _, want := range []int{2, 1, 0} {
		got, err := s.SweepProgress(background(), "u", time.UnixMilli(startMs+4), 2)
		must(t, err)
		equal(t, "swept", got, want)
	}
	got, err := s.FirstProgress(background(), []im.ProgressKey{{UserID: "u", DeviceID: "d", Seq: 1}, {UserID: "v", DeviceID: "d", Seq: 1}})
	must(t, err)
	equal(t, "left", []int64{got[0].AckedAtMs, got[1].AckedAtMs}, []int64{startMs + 4, startMs})
}
