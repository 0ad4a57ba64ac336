package http

import (
	"context"
	"time"

	"github.com/im-transfer/im"
)

// Passwords hashes passwords. It takes a core for a while and is never called
// more than Config.HashConcurrency times at once.
type Passwords interface {
	// Hash returns a hash to be kept.
	Hash(password string) string
	// Verify reports whether a hash is of this password. An empty hash never is;
	// finding that out takes as long.
	Verify(hash, password string) bool
}

// hashing bounds how many passwords are hashed at once, so that log-ins never
// take all cores from chat, and how many requests wait for that.
type hashing struct {
	passwords Passwords
	running   chan struct{}
	places    chan struct{} // running and waiting
}

func newHashing(passwords Passwords, concurrency, queue int) *hashing {
	return &hashing{passwords, make(chan struct{}, concurrency), make(chan struct{}, concurrency+queue)}
}

// hash returns the hash of a password, or im.Unavailable when too many wait.
func (h *hashing) hash(ctx context.Context, password string) (hash string, err error) {
	err = h.run(ctx, func() { hash = h.passwords.Hash(password) })
	return hash, err
}

// verify compares a password, with the same bound.
func (h *hashing) verify(ctx context.Context, hash, password string) (right bool, err error) {
	err = h.run(ctx, func() { right = h.passwords.Verify(hash, password) })
	return right, err
}

func (h *hashing) run(ctx context.Context, work func()) error {
	busy := im.Retry(im.Unavailable, time.Second, "too many are logging in just now")
	select {
	case h.places <- struct{}{}:
	default:
		return busy
	}
	defer func() { <-h.places }()
	select {
	case h.running <- struct{}{}:
	case <-ctx.Done():
		return busy
	}
	defer func() { <-h.running }()
	work()
	return nil
}
