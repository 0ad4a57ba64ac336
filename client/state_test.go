package client

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

func TestAStateKeepsWhatWasSaved(t *testing.T) {
	for name, state := range map[string]State{
		"memory": &MemoryState{},
		"file":   NewFileState(filepath.Join(t.TempDir(), "deep", "state.json")),
	} {
		t.Run(name, func(t *testing.T) {
			empty, err := state.Load(t.Context())
			if err != nil || empty.Known || len(empty.Sends) != 0 {
				t.Fatal(empty, err)
			}
			want := Snapshot{
				UserID: "alice", Known: true, LastSeq: 1 << 60, InboxEpoch: "e",
				Sends: []*imv1.Send{newSend(ToUser("bob"), TextContent("a\x00b"), SendOptions{})},
			}
			for range 2 {
				if err := state.Save(t.Context(), want); err != nil {
					t.Fatal(err)
				}
			}
			got, err := state.Load(t.Context())
			if err != nil || len(got.Sends) != 1 || !proto.Equal(got.Sends[0], want.Sends[0]) {
				t.Fatal(got, err)
			}
			if got.UserID != "alice" || !got.Known || got.LastSeq != 1<<60 || got.InboxEpoch != "e" {
				t.Fatalf("%+v", got)
			}
		})
	}
}

func TestAHalfWrittenStateIsNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	state := NewFileState(path)
	if err := state.Save(t.Context(), Snapshot{LastSeq: 4}); err != nil {
		t.Fatal(err)
	}
	// A crash while the next one is written leaves the temporary file.
	if err := os.WriteFile(path+".tmp", []byte(`{"last_`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := state.Load(t.Context()); err != nil || got.LastSeq != 4 {
		t.Fatal(got, err)
	}
	if err := os.WriteFile(path, []byte(`{"last_`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Load(t.Context()); err == nil {
		t.Fatal("took half a state")
	}
}

func TestANewProcessGoesOnWhereTheOldOneWasKilled(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		state := &MemoryState{}
		withState := func(config *Config) { config.State = state }
		c := f.client(withState)
		p := f.connected(c, nil)
		sendTo(t, c, "bob", "a", "b")
		p.expectSends("a", "b after a")
		p.deliver(1, 2)
		expect[imv1.Ack](p, wire.OpAck)
		killed, err := state.Load(t.Context()) // what the disk holds at the kill
		if err != nil {
			t.Fatal(err)
		}
		closeClient(t, c)

		state = &MemoryState{snapshot: killed}
		c = f.client(withState)
		defer closeClient(t, c)
		sendTo(t, c, "bob", "c")
		go c.Connect(t.Context()) //nolint:errcheck // the frames count
		p = f.accept()
		if auth := p.welcome(&imv1.AuthReply{ResumeFrom: 2, Head: 2}); auth.GetLastSeq() != 2 {
			t.Fatalf("resumed at %d", auth.GetLastSeq())
		}
		// The ack may have been lost with the process, so it is said again.
		expect[imv1.Ack](p, wire.OpAck)
		p.expectSends("a", "b after a", "c after b")
	})
}

// brokenState fails to save while broken.
type brokenState struct {
	MemoryState
	broken atomic.Bool
}

func (b *brokenState) Save(ctx context.Context, snapshot Snapshot) error {
	if b.broken.Load() {
		return errors.New("disk full")
	}
	return b.MemoryState.Save(ctx, snapshot)
}

func TestNothingIsWrittenOrAcknowledgedThatIsNotSaved(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		state := &brokenState{}
		failures := 0
		c := f.client(func(config *Config) {
			config.State = state
			config.Hooks.OnStateError = func(error) { failures++ }
		})
		defer closeClient(t, c)
		p := f.connected(c, nil)
		<-time.After(time.Second)

		state.broken.Store(true)
		sendTo(t, c, "bob", "a")
		p.deliver(1)
		<-time.After(5 * time.Second)
		p.nothing()
		if failures < 3 {
			t.Fatalf("told of %d failures", failures)
		}
		state.broken.Store(false)
		expect[imv1.Ack](p, wire.OpAck)
		p.expectSends("a")
		p.ack(&imv1.Send{ClientMsgId: "a"}, 1)
		<-time.After(time.Second)
		synctest.Wait()
		if snapshot, _ := state.Load(t.Context()); len(snapshot.Sends) != 0 || snapshot.LastSeq != 1 {
			t.Fatalf("left %+v", snapshot)
		}
	})
}

func TestAStateOfAnotherUserIsRefused(t *testing.T) {
	state := &MemoryState{snapshot: Snapshot{UserID: "bob"}}
	_, err := New(Config{
		URL: "tcp://x:1", Tokens: Tokens{UserID: "alice", AccessToken: "t"}, DeviceID: "d", Platform: "web", State: state,
	})
	if err == nil {
		t.Fatal("took it")
	}
}
