package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/sqlite"
)

const testRetention = 30 * 24 * time.Hour

// sweptStore is the embedded store, with what may be wrong with one. Its times are
// the bubble's.
type sweptStore struct {
	*sqlite.Store
	ahead atomic.Int64  // of its clock, nanoseconds
	takes time.Duration // of each look at an inbox
	fails int           // of the next looks
	looks []time.Time   // when inboxes were looked at
}

func (s *sweptStore) Clock(ctx context.Context) (time.Time, error) {
	clock, err := s.Store.Clock(ctx)
	return clock.Add(time.Duration(s.ahead.Load())), err
}

func (s *sweptStore) SweepInbox(ctx context.Context, userID string, before time.Time, limit int) (int, error) {
	s.looks = append(s.looks, time.Now())
	time.Sleep(s.takes)
	if s.fails > 0 {
		s.fails--
		return 0, errors.New("away")
	}
	return s.Store.SweepInbox(ctx, userID, before, limit)
}

// sweeping is a sweeper of partition 0 of 2 that runs in a bubble.
type sweeping struct {
	t       *testing.T
	store   *sweptStore
	log     strings.Builder
	metrics *prometheus.Registry
	stop    func()
}

func inSweeping(t *testing.T, story func(s *sweeping)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlite.Open(t.Context(), dir, sqlite.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		s := &sweeping{t: t, store: &sweptStore{Store: db}, metrics: prometheus.NewRegistry()}
		story(s)
		if s.stop != nil {
			s.stop()
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// after waits until a time has passed, and what it brought is done.
func (s *sweeping) after(passed time.Duration) {
	time.Sleep(passed)
	synctest.Wait()
}

func (s *sweeping) begin(changes ...func(*sweeper)) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &sweeper{
		store: s.store, log: slog.New(slog.NewTextHandler(&s.log, nil)), now: monotonic(time.Now), metrics: newMetrics(s.metrics),
		retention: testRetention, partition: 0, partitions: 2,
	}
	for _, change := range changes {
		change(w)
	}
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	s.stop = func() { cancel(); <-done }
}

// commit gives users a block of two entries each.
func (s *sweeping) commit(first int64, users ...string) {
	s.t.Helper()
	var commit im.InboxCommit
	for _, user := range users {
		block := im.Block{UserID: user, FirstSeq: first, AtMs: time.Now().UnixMilli()}
		for seq := first; seq < first+2; seq++ {
			block.Entries = append(block.Entries, im.InboxEntry{EventID: im.EventIDOf(seq), Kind: im.KindMessage, MessageID: seq, ConversationID: "c"})
		}
		commit.Blocks = append(commit.Blocks, block)
	}
	if err := s.store.CommitInbox(context.Background(), &commit); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sweeping) floors(users ...string) (floors []int64) {
	s.t.Helper()
	heads, err := s.store.Heads(context.Background(), users)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range heads {
		floors = append(floors, h.Floor)
	}
	return floors
}

func (s *sweeping) metric(name string) float64 {
	s.t.Helper()
	return metricOf(s.t, s.metrics, name)
}

func metricOf(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// usersOf are n users of a partition of two.
func usersOf(partition, n int) (users []string) {
	for i := 0; len(users) < n; i++ {
		if id := fmt.Sprintf("%c%d", 'a'+i%26, i); im.Partition(id, 2) == partition {
			users = append(users, id)
		}
	}
	return users
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestTheSweeperDeletesWhatIsOlderThanTheRetention(t *testing.T) {
	inSweeping(t, func(s *sweeping) {
		mine, others := usersOf(0, 700), usersOf(1, 3) // more than are read at once
		s.commit(1, append(mine, others...)...)
		s.after(testRetention / 2)
		s.commit(3, mine...)
		s.commit(3, others...)
		s.begin()
		s.after(testRetention/2 - time.Hour)
		expect(t, "blocks gone before their time", s.metric("im_swept_blocks_total"), 0)
		s.after(25 * time.Hour) // a pass a day
		for i, floor := range s.floors(mine...) {
			expect(t, "floor of "+mine[i], floor, 2)
		}
		expect(t, "floor of another partition's", fmt.Sprint(s.floors(others...)), "[0 0 0]")
		s.after(testRetention)
		expect(t, "blocks gone", s.metric("im_swept_blocks_total"), 700) // the newest stay
	})
}

// The journal and the progress of devices have times of their own, also where inboxes are
// kept for ever.
func TestTheSweeperForgetsTheJournalAndProgress(t *testing.T) {
	inSweeping(t, func(s *sweeping) {
		ctx := context.Background()
		user, other := usersOf(0, 1)[0], usersOf(1, 1)[0]
		s.commit(1, user, other)
		s.commit(3, user, other)
		at := time.Now().UnixMilli()
		var lines []im.Connection
		var rows []im.Progress
		for _, id := range []string{user, other} {
			for n := range int64(250) {
				lines = append(lines, im.Connection{UserID: id, SessionID: fmt.Sprint(n), OnlineAtMs: at + n})
				rows = append(rows, im.Progress{UserID: id, DeviceID: "d", AtMs: at + n, Written: 1, Acked: 1})
			}
		}
		if err := errors.Join(s.store.RecordConnections(ctx, lines), s.store.AddProgress(ctx, rows)); err != nil {
			s.t.Fatal(err)
		}
		left := func(id string) (connections, progress int) {
			found, err := s.store.Connections(ctx, im.ConnectionQuery{UserID: id, Limit: 1000})
			times, failure := s.store.FirstProgress(ctx, []im.ProgressKey{{UserID: id, DeviceID: "d", Seq: 1}})
			if err := errors.Join(err, failure); err != nil {
				s.t.Fatal(err)
			}
			if times[0].AckedAtMs > 0 {
				progress = 1
			}
			return len(found), progress
		}
		check := func(what, id string, wantConnections, wantProgress int) {
			s.t.Helper()
			connections, progress := left(id)
			expect(s.t, "connections "+what, connections, wantConnections)
			expect(s.t, "progress "+what, progress, wantProgress)
		}
		s.begin(func(w *sweeper) { w.retention, w.journal, w.progress = 0, 4*testRetention, testRetention })
		s.after(testRetention - 2*time.Hour)
		check("at first", user, 250, 1)
		s.after(27 * time.Hour)
		check("after one time", user, 250, 0)
		s.after(3*testRetention + 2*time.Hour)
		check("after the other", user, 1, 0)
		check("of another partition", other, 250, 1)
		expect(s.t, "floors", fmt.Sprint(s.floors(user)), "[0]")
	})
}

func TestTheSweeperStopsWhenTheClocksComeApart(t *testing.T) {
	inSweeping(t, func(s *sweeping) {
		mine := usersOf(0, 2)
		s.commit(1, mine...)
		s.commit(3, mine...)
		s.store.ahead.Store(int64(59 * time.Minute))
		s.begin()
		s.after(2 * time.Minute)
		expect(t, "stopped by less than an hour", s.metric("im_sweepers_stopped"), 0)
		s.store.ahead.Store(int64(testRetention + time.Hour)) // as after a bad step: all looks old
		s.after(25 * time.Hour)
		expect(t, "stopped", s.metric("im_sweepers_stopped"), 1)
		expect(t, "floors", fmt.Sprint(s.floors(mine...)), "[0 0]")
		if !strings.Contains(s.log.String(), "level=ERROR") {
			t.Errorf("no alarm in %q", s.log.String())
		}
		s.store.ahead.Store(0)
		s.after(2 * testRetention)
		expect(t, "floors, later", fmt.Sprint(s.floors(mine...)), "[0 0]")
		s.stop()
		expect(t, "stopped, when the partition is given up", s.metric("im_sweepers_stopped"), 0)
	})
}

func TestTheSweeperGoesOnWhereTheStoreWasAway(t *testing.T) {
	inSweeping(t, func(s *sweeping) {
		mine := usersOf(0, 5)
		s.commit(1, mine...)
		s.commit(3, mine...)
		s.after(testRetention + time.Second)
		s.store.fails = 8 // 1 + 2 + 4 + ... + 60 + 60 s
		s.begin()
		s.after(10 * time.Minute)
		expect(t, "floors", fmt.Sprint(s.floors(mine...)), "[2 2 2 2 2]")
		expect(t, "looks", len(s.store.looks), 8+5)
		expect(t, "warnings", strings.Count(s.log.String(), "level=WARN"), 1)
	})
}

func TestASlowStoreIsSweptSlowly(t *testing.T) {
	inSweeping(t, func(s *sweeping) {
		s.commit(1, usersOf(0, 20)...)
		s.store.takes = time.Second
		s.begin()
		s.after(10 * time.Minute)
		expect(t, "looks", len(s.store.looks), 20)
		for i := 1; i < len(s.store.looks); i++ {
			if between := s.store.looks[i].Sub(s.store.looks[i-1]); between < 10*time.Second {
				t.Errorf("look %d came %v after the one before, which took 1s", i, between)
			}
		}
	})
}
