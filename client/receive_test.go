package client

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

func wantSeqs(t *testing.T, handler *notes, want ...int64) {
	t.Helper()
	synctest.Wait()
	if got := handler.seen(); !slices.Equal(got, want) {
		t.Fatalf("handled %v, want %v", got, want)
	}
}

func TestEntriesAreHandledInOrderOnceAndAcknowledged(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		handler := &notes{}
		c := f.client(func(config *Config) { config.Handler = handler })
		defer closeClient(t, c)
		p := f.connected(c, &imv1.AuthReply{Head: 3})

		p.deliver(1, 2)
		p.deliver(2, 3)
		p.deliver(1)

		wantSeqs(t, handler, 1, 2, 3)
		frame, ack := expect[imv1.Ack](p, wire.OpAck)
		if ack.GetSeq() != 3 || frame.Seq != 0 {
			t.Fatalf("acked %d with sequence %d", ack.GetSeq(), frame.Seq)
		}
		p.nothing()
	})
}

func TestAFullBatchIsAcknowledgedAtOnce(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(func(config *Config) { config.AckEvery, config.AckDelay = 2, time.Hour })
		defer closeClient(t, c)
		p := f.connected(c, nil)

		p.deliver(1, 2)
		began := time.Now()
		if _, ack := expect[imv1.Ack](p, wire.OpAck); ack.GetSeq() != 2 || time.Since(began) > time.Second {
			t.Fatalf("acked %d after %s", ack.GetSeq(), time.Since(began))
		}
	})
}

func TestASessionResumesWhereTheLastOneEnded(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		handler := &notes{}
		c := f.client(func(config *Config) { config.Handler = handler })
		defer closeClient(t, c)

		done := make(chan error, 1)
		go func() { done <- c.Connect(t.Context()) }()
		p := f.accept()
		if auth := p.welcome(nil); auth.LastSeq != nil || auth.GetInboxEpoch() != "" {
			t.Fatalf("a new device said last_seq %v, epoch %q", auth.LastSeq, auth.GetInboxEpoch())
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		p.deliver(1, 2)
		wantSeqs(t, handler, 1, 2)
		p.close()

		p = f.accept()
		auth := p.welcome(&imv1.AuthReply{ResumeFrom: 2, Head: 3})
		if auth.GetLastSeq() != 2 || auth.GetInboxEpoch() != "epoch-1" {
			t.Fatalf("resumed at %d of epoch %q", auth.GetLastSeq(), auth.GetInboxEpoch())
		}
		p.deliver(2, 3)
		wantSeqs(t, handler, 1, 2, 3)
	})
}

func TestAGapIsFilledBySync(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		handler := &notes{}
		c := f.client(func(config *Config) { config.Handler, config.AckDelay = handler, time.Minute })
		defer closeClient(t, c)
		p := f.connected(c, nil)

		p.deliver(1, 4)
		frame, sync := expect[imv1.Sync](p, wire.OpSync)
		if sync.GetAfter() != 1 || sync.GetInboxEpoch() != "epoch-1" || frame.Seq == 0 {
			t.Fatalf("asked for %v", sync)
		}
		p.deliver(5)
		p.write(wire.OpSyncReply, frame.Seq, &imv1.SyncReply{Entries: entries(2, 3), Head: 5, HasMore: true})
		frame, sync = expect[imv1.Sync](p, wire.OpSync)
		if sync.GetAfter() != 3 {
			t.Fatalf("asked for %v", sync)
		}
		p.write(wire.OpSyncReply, frame.Seq, &imv1.SyncReply{Entries: entries(4, 5), Head: 5})
		wantSeqs(t, handler, 1, 2, 3, 4, 5)
		p.nothing()
	})
}

func TestARefusedSyncIsAskedAgain(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(func(config *Config) { config.AckDelay = time.Minute })
		defer closeClient(t, c)
		p := f.connected(c, nil)

		p.deliver(3)
		frame, _ := expect[imv1.Sync](p, wire.OpSync)
		p.refuse(frame, im.Unavailable, 3*time.Second)
		began := time.Now()
		expect[imv1.Sync](p, wire.OpSync)
		if waited := time.Since(began); waited < 3*time.Second || waited > 4*time.Second {
			t.Fatalf("asked again after %s", waited)
		}
	})
}

func TestALostLastPushIsFoundByTheHeartbeat(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		handler := &notes{}
		c := f.client(func(config *Config) { config.Handler = handler })
		defer closeClient(t, c)
		p := f.connected(c, &imv1.AuthReply{HeartbeatSeconds: 20})

		p.set(2, false)
		began := time.Now()
		frame, sync := expect[imv1.Sync](p, wire.OpSync)
		if waited := time.Since(began); sync.GetAfter() != 0 || waited < 40*time.Second || waited > 41*time.Second {
			t.Fatalf("asked for what follows %d after %s", sync.GetAfter(), waited)
		}
		p.write(wire.OpSyncReply, frame.Seq, &imv1.SyncReply{Entries: entries(1, 2), Head: 2})
		wantSeqs(t, handler, 1, 2)
	})
}

func TestTooLongStartsOver(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		handler := &notes{}
		c := f.client(func(config *Config) { config.Handler = handler })
		defer closeClient(t, c)
		p := f.connected(c, nil)
		p.deliver(1, 2)
		expect[imv1.Ack](p, wire.OpAck)
		p.close()

		p = f.accept()
		p.welcome(&imv1.AuthReply{ResumeFrom: 1, Head: 1, TooLong: true, InboxEpoch: "epoch-2"})
		if _, ack := expect[imv1.Ack](p, wire.OpAck); ack.GetSeq() != 1 {
			t.Fatalf("acked %d", ack.GetSeq())
		}
		if want := []StartOver{{Head: 1, InboxEpoch: "epoch-2"}}; !slices.Equal(handler.overs, want) {
			t.Fatalf("started over %v", handler.overs)
		}
		p.deliver(2)
		wantSeqs(t, handler, 1, 2, 2)
	})
}

func TestTooLongInAPageIsTakenToTheNextAuth(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)
		p.deliver(9)
		frame, _ := expect[imv1.Sync](p, wire.OpSync)
		p.write(wire.OpSyncReply, frame.Seq, &imv1.SyncReply{Head: 9, TooLong: true})
		p.ended()
		f.accept().welcome(&imv1.AuthReply{ResumeFrom: 9, Head: 9, TooLong: true})
	})
}

func TestAnEntryThatTheHandlerRefusesComesAgain(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		tries := 0
		handler := &notes{entry: func(seq int64) error {
			if tries++; seq == 1 && tries < 4 {
				return errors.New("disk full")
			}
			return nil
		}}
		c := f.client(func(config *Config) { config.Handler = handler })
		defer closeClient(t, c)
		p := f.connected(c, nil)

		p.deliver(1, 2)
		p.nothing()
		if _, ack := expect[imv1.Ack](p, wire.OpAck); ack.GetSeq() != 2 {
			t.Fatalf("acked %d", ack.GetSeq())
		}
		wantSeqs(t, handler, 1, 2)
	})
}

func TestWhatFindsTheQueueFullIsPulledLater(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		gate := make(chan struct{})
		handler := &notes{entry: func(int64) error { <-gate; return nil }}
		c := f.client(func(config *Config) { config.Handler, config.AckDelay = handler, time.Hour })
		defer closeClient(t, c)
		p := f.connected(c, &imv1.AuthReply{Window: 4})

		// One is with the handler and 2*4+200 wait: a server that ignores the
		// window is not followed further.
		p.deliver(1)
		p.nothing()
		for seq := int64(2); seq <= 220; seq++ {
			p.deliver(seq)
		}
		p.nothing()
		close(gate)
		var frame wire.Frame
		var body *imv1.Sync
		for body == nil {
			select {
			case frame = <-p.frames:
			case <-time.After(time.Minute):
				t.Fatal("no sync came")
			}
			if frame.Op == wire.OpSync {
				body = &imv1.Sync{}
				if err := unmarshal(frame, body); err != nil {
					t.Fatal(err)
				}
			}
		}
		if body.GetAfter() != 209 {
			t.Fatalf("asked for what follows %d", body.GetAfter())
		}
		var rest []int64
		for seq := int64(210); seq <= 220; seq++ {
			rest = append(rest, seq)
		}
		p.write(wire.OpSyncReply, frame.Seq, &imv1.SyncReply{Entries: entries(rest...), Head: 220})
		synctest.Wait()
		if seen := handler.seen(); len(seen) != 220 || !slices.IsSorted(seen) {
			t.Fatalf("handled %d", len(seen))
		}
	})
}

func TestSignalsReachTheHandler(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		handler := &notes{}
		c := f.client(func(config *Config) { config.Handler = handler })
		defer closeClient(t, c)
		p := f.connected(c, nil)

		p.write(wire.OpSignal, 0, &imv1.Signal{Type: "typing"})
		synctest.Wait()
		if !slices.Equal(handler.signals, []string{"typing"}) {
			t.Fatalf("signals %v", handler.signals)
		}
		if err := c.Signal(ToUser("bob"), "typing", nil); err != nil {
			t.Fatal(err)
		}
		if _, sent := expect[imv1.Signal](p, wire.OpSignal); sent.GetTo().GetUserId() != "bob" {
			t.Fatalf("sent %v", sent)
		}
	})
}
