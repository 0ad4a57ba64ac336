package test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

// The places of a message's way at which a server can be made to die. The second
// and the third are both between the messages commit and the inbox commit.
const (
	beforeInsert = "before-insert-events"
	afterInsert  = "after-insert-events"
	beforeInbox  = "before-commit-inbox"
	afterInbox   = "after-commit-inbox"
)

// crashPoint is a place and which time it is reached, from 1.
type crashPoint struct {
	place string
	time  int64
}

func parseCrash(text string) (crashPoint, error) {
	place, times, _ := strings.Cut(text, ":")
	n, err := strconv.ParseInt(times, 10, 64)
	if err != nil || n < 1 || !slices.Contains([]string{beforeInsert, afterInsert, beforeInbox, afterInbox}, place) {
		return crashPoint{}, fmt.Errorf("crash point %q: want place:n", text)
	}
	return crashPoint{place, n}, nil
}

// crashStore is a store whose process dies at a point.
type crashStore struct {
	transfer.Store
	point   crashPoint
	reached atomic.Int64
	die     func()
}

func (c *crashStore) at(place string) {
	if place == c.point.place && c.reached.Add(1) == c.point.time {
		c.die()
	}
}

// InsertEvents is the messages commit.
func (c *crashStore) InsertEvents(ctx context.Context, events []im.Event, packs []im.Pack) error {
	c.at(beforeInsert)
	err := c.Store.InsertEvents(ctx, events, packs)
	if err == nil {
		c.at(afterInsert)
	}
	return err
}

// CommitInbox is the inbox commit; those without entries do not count.
func (c *crashStore) CommitInbox(ctx context.Context, commit *im.InboxCommit) error {
	if len(commit.Blocks) == 0 {
		return c.Store.CommitInbox(ctx, commit)
	}
	c.at(beforeInbox)
	err := c.Store.CommitInbox(ctx, commit)
	if err == nil {
		c.at(afterInbox)
	}
	return err
}
