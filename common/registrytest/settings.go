package registrytest

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"
)

type settings = map[string]string

func put(t *testing.T, r Registry, name, value string) {
	t.Helper()
	if err := r.PutSetting(t.Context(), name, value); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

func unset(t *testing.T, r Registry, name string) {
	t.Helper()
	if err := r.DeleteSetting(t.Context(), name); err != nil {
		t.Fatalf("delete %s: %v", name, err)
	}
}

func follow(t *testing.T, r Registry) <-chan settings {
	t.Helper()
	feed, err := r.Settings(t.Context())
	if err != nil {
		t.Fatalf("watch the settings: %v", err)
	}
	return feed
}

// untilSet takes settings until they are as wanted.
func untilSet(t *testing.T, feed <-chan settings, want settings) {
	t.Helper()
	await(t, feed, want, func(now settings) bool { return maps.Equal(now, want) })
}

func settingsBegin(t *testing.T, o Opened) {
	select {
	case now := <-follow(t, o.Registry):
		if len(now) != 0 {
			t.Fatalf("an empty registry has %v", now)
		}
	case <-time.After(patience):
		t.Fatal("no settings at once")
	}
	put(t, o.Registry, "log.level", "debug")
	untilSet(t, follow(t, o.another()), settings{"log.level": "debug"})
}

func settingsFollow(t *testing.T, o Opened) {
	feed, other := follow(t, o.another()), o.another()
	put(t, o.Registry, "a", "1")
	untilSet(t, feed, settings{"a": "1"})
	put(t, other, "b", "")
	untilSet(t, feed, settings{"a": "1", "b": ""})
	put(t, other, "a", "two words\n")
	untilSet(t, feed, settings{"a": "two words\n", "b": ""})
	unset(t, other, "a")
	unset(t, o.Registry, "a") // not set by now: no error
	untilSet(t, feed, settings{"b": ""})
	unset(t, other, "b")
	untilSet(t, feed, settings{})
}

func settingsNewest(t *testing.T, o Opened) {
	slow, quick := follow(t, o.Registry), follow(t, o.Registry)
	var want settings
	for i := range 50 {
		want = settings{"n": fmt.Sprint(i)}
		put(t, o.Registry, "n", want["n"])
	}
	untilSet(t, quick, want)
	// The slow one has taken nothing; at most settings that were on their way come
	// before the newest.
	for range 3 {
		select {
		case now := <-slow:
			now["mine"] = "" // the receiver's
			if now["n"] == want["n"] {
				untilSet(t, follow(t, o.Registry), want)
				return
			}
		case <-time.After(patience):
			t.Fatal("the newest settings never came")
		}
	}
	t.Fatal("a slow reader got old settings")
}

func settingsEnd(t *testing.T, o Opened) {
	ctx, cancel := context.WithCancel(t.Context())
	feed, err := o.Registry.Settings(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	late := time.After(patience)
	for {
		select {
		case _, open := <-feed:
			if !open {
				put(t, o.Registry, "n", "1") // nobody listens; nothing breaks
				return
			}
		case <-late:
			t.Fatal("the channel is still open")
		}
	}
}
