package http

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/im-transfer/im"
)

const (
	// stepEvery is the time of one step of a broadcast, which sends as many messages as it
	// may in a second. The steps are its speed limit.
	stepEvery = time.Second
	// lookTimeout bounds what a step waits for before it sends, and sendTimeout for answers.
	lookTimeout = 10 * time.Second
	sendTimeout = 20 * time.Second
	// claimEvery is how old a claim may be before it is made anew, by which one notices that
	// another server has taken the broadcast over.
	claimEvery = 5 * time.Second
)

// broadcaster sends what the operator has to say to many. A broadcast belongs to the
// server that was asked; when that leaves the registry, to the one of the live servers
// that a hash names. Whoever takes it inserts the term after its last, so of two who do
// one notices. Where two send at once all the same, the messages' ids, made of the
// broadcast's and the user's, let nobody get one twice.
type broadcaster struct {
	server *Server
	log    *slog.Logger
	wake   chan struct{} // 1: there is something to look at
	every  time.Duration // of steps; stepEvery but in tests

	mu    sync.Mutex
	fresh map[string]bool // made here, not claimed yet

	live   []string            // ids of http servers; run's own, as the next
	claims map[string]*im.Term // by broadcast
}

func newBroadcaster(s *Server) *broadcaster {
	return &broadcaster{
		server: s, log: s.log, wake: make(chan struct{}, 1), every: stepEvery, fresh: map[string]bool{}, claims: map[string]*im.Term{},
	}
}

// begin makes a broadcast ours, which has just been kept.
func (b *broadcaster) begin(id string) {
	b.mu.Lock()
	b.fresh[id] = true
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *broadcaster) made(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fresh[id]
}

// run works until the context ends. It looks when it is told of a new broadcast and when
// servers come or go; and each second while it has something to send.
func (b *broadcaster) run(ctx context.Context, lists <-chan []im.Server) {
	var tick <-chan time.Time
	for {
		select {
		case list, ok := <-lists:
			if !ok {
				lists = nil
				continue
			}
			b.live = b.live[:0]
			for _, server := range list {
				b.live = append(b.live, server.ID)
			}
		case <-b.wake:
		case <-tick:
			tick = nil
		case <-ctx.Done():
			return
		}
		if tick != nil { // the speed is kept whatever else happens
			continue
		}
		if began := time.Now(); b.step(ctx) {
			tick = time.After(b.every - time.Since(began))
		}
	}
}

// step sends the next second's part of the broadcast that is first, if that is ours. It
// reports whether there is more to do.
func (b *broadcaster) step(ctx context.Context) bool {
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	running, err := b.server.Broadcasts.RunningBroadcasts(bounded)
	if ctx.Err() != nil { // the server ends
		return false
	}
	if err != nil {
		b.failed("look for broadcasts", err)
		return true
	}
	b.forget(running)
	slices.SortFunc(running, func(x, y im.Broadcast) int {
		return cmp.Or(cmp.Compare(y.Priority, x.Priority), cmp.Compare(x.CreatedAtMs, y.CreatedAtMs), cmp.Compare(x.ID, y.ID))
	})
	more := false
	for i := range running {
		ours, err := b.claim(bounded, running[i].ID)
		if err != nil {
			b.failed("claim a broadcast", err)
		}
		more = more || ours || err != nil
		if ours && running[i].Priority == running[0].Priority { // others wait for those above them
			if err := b.send(ctx, running[i].ID); err != nil {
				b.failed("send a broadcast", err)
			}
			break
		}
	}
	return more
}

func (b *broadcaster) failed(what string, err error) {
	b.log.Warn("a broadcast has to wait", "doing", what, "error", err)
}

// forget drops what is known of broadcasts that are over.
func (b *broadcaster) forget(running []im.Broadcast) {
	over := func(id string) bool {
		return !slices.ContainsFunc(running, func(r im.Broadcast) bool { return r.ID == id })
	}
	for id := range b.claims {
		if over(id) {
			delete(b.claims, id)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.fresh {
		if b.claims[id] != nil {
			delete(b.fresh, id)
		}
	}
}

// claim reports whether a broadcast is ours now.
func (b *broadcaster) claim(ctx context.Context, id string) (bool, error) {
	now := b.server.nowMs()
	held := b.claims[id]
	if held != nil && now-held.AtMs < claimEvery.Milliseconds() {
		return true, nil
	}
	next := im.Term{Partition: "broadcast." + id, Term: 1, Owner: b.server.config.ServerID, AtMs: now}
	if held != nil {
		next.Term = held.Term + 1 // never the greatest + 1: a conflict shows another
	} else {
		last, err := b.server.Broadcasts.LastTerm(ctx, next.Partition)
		if err == nil { // it is somebody's, so it is not fresh any more
			b.mu.Lock()
			delete(b.fresh, id)
			b.mu.Unlock()
		}
		switch {
		case errors.Is(err, im.ErrNotFound) && (b.made(id) || b.named(id)):
		case errors.Is(err, im.ErrNotFound):
			return false, nil
		case err != nil:
			return false, err
		case slices.Contains(b.live, last.Owner) && last.Owner != next.Owner, last.Owner != next.Owner && !b.named(id):
			return false, nil
		}
		next.Term = last.Term + 1
	}
	switch err := b.server.Broadcasts.InsertTerm(ctx, next); {
	case errors.Is(err, im.ErrDuplicate): // who was faster may have been about to stop: look again
		delete(b.claims, id)
		return false, fmt.Errorf("another server was faster: %w", err)
	case err != nil: // also where the outcome is not known: the next try finds whose it is
		delete(b.claims, id)
		return false, err
	}
	b.claims[id] = &next
	return true, nil
}

// named reports whether the hash names this server among the live ones.
func (b *broadcaster) named(id string) bool {
	weight := func(server string) uint64 {
		h := fnv.New64a()
		h.Write([]byte(id + "/" + server))
		return h.Sum64()
	}
	best := ""
	for _, server := range b.live {
		if best == "" || weight(server) > weight(best) {
			best = server
		}
	}
	return best != "" && best == b.server.config.ServerID
}
