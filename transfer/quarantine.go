package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// quarantine keeps an item that can never succeed for a person to look at, and
// only then lets the queue forget it.
func (s *Server) quarantine(ctx context.Context, topic string, partition int, body []byte, cause error) error {
	item := im.Quarantined{
		Topic: topic, Partition: partition, Reason: cause.Error(), Body: body, AtMs: s.now().UnixMilli(),
	}
	s.log.Error("an item of the queue can not be decoded; it goes to the quarantine", "topic", topic, "partition", partition, "error", cause)
	err := s.persist(ctx, s.log, func(ctx context.Context) error { return s.store.Quarantine(ctx, item) })
	if err != nil {
		return fmt.Errorf("quarantine an item: %w", err)
	}
	im.CrashPoint(im.CrashQuarantined)
	s.metrics.quarantined.Inc()
	return nil
}

// Quarantined returns up to limit items that could not be decoded, oldest first,
// behind a time and an id.
func (s *Server) Quarantined(ctx context.Context, afterMs, afterID int64, limit int) ([]im.Quarantined, error) {
	items, err := s.store.Quarantined(ctx, afterMs, afterID, limit)
	if err != nil {
		return nil, fmt.Errorf("list the quarantine: %w", err)
	}
	return items, nil
}

// QuarantinedItem returns an item, and why it can still not be decoded; the second
// is nil where a replay would now take it. im.NotFound when there is no such item.
func (s *Server) QuarantinedItem(ctx context.Context, id int64) (item im.Quarantined, broken, err error) {
	item, err = s.store.QuarantinedItem(ctx, id)
	if errors.Is(err, im.ErrNotFound) {
		return item, nil, im.Errorf(im.NotFound, "no item %d is in the quarantine", id)
	}
	if err != nil {
		return item, nil, fmt.Errorf("read the quarantine: %w", err)
	}
	_, broken = late(&item)
	return item, broken, nil
}

// Replay gives an item back to its partition and takes it out of the quarantine. What
// it delivers is marked as late. It leaves the quarantine only when it is durable where
// it goes: in the queue, or where that dies with the process, for the store has an
// outbox, in that or, as events, in the messages. A replay that broke off in between
// may be done again: what has been delivered is not delivered twice. im.NotFound when there is no such item, im.Invalid while it can not be
// decoded.
func (s *Server) Replay(ctx context.Context, id int64) error {
	item, broken, err := s.QuarantinedItem(ctx, id)
	if err != nil {
		return err
	}
	if broken != nil {
		return im.Errorf(im.Invalid, "item %d can still not be decoded: %v", id, broken)
	}
	body, err := late(&item)
	if err != nil {
		return err
	}
	pack := im.Pack{Partition: item.Partition, Body: body}
	switch {
	case !s.info.Outbox:
		err = s.replayByQueue(ctx, id, item.Topic, pack)
	case item.Topic == TopicInbox:
		err = s.replayByOutbox(ctx, id, pack)
	default:
		err = s.replayByOwner(ctx, id, pack)
	}
	if err == nil {
		s.log.Info("replayed an item of the quarantine", "topic", item.Topic, "partition", item.Partition, "id", id)
	}
	return err
}

// replayByQueue publishes an item and then forgets it.
func (s *Server) replayByQueue(ctx context.Context, id int64, topic string, pack im.Pack) error {
	if err := s.publishReplay(ctx, topic, pack); err != nil {
		return err
	}
	return s.release(ctx, id)
}

// replayByOwner publishes commands to a queue that dies with the process, and forgets
// them when their partition's owner has carried them out.
func (s *Server) replayByOwner(ctx context.Context, id int64, pack im.Pack) error {
	done := s.replays.begin(id)
	defer s.replays.end(id, done)
	pack.Ref = im.PackRef{Commit: id, Partition: pack.Partition}
	if err := s.publishReplay(ctx, TopicConversation, pack); err != nil {
		return err
	}
	select {
	case <-done:
		return s.release(ctx, id)
	case <-ctx.Done():
		return fmt.Errorf("wait for the owner of %s to carry an item out: %w", partitionName(TopicConversation, pack.Partition), ctx.Err())
	}
}

// replays is the items that wait for a partition's owner. It is safe for concurrent
// use; requests of operators bound it.
type replays struct {
	mu      sync.Mutex
	waiting map[int64]chan struct{} // by id; closed when the item has been carried out
}

// begin waits for an item from now on; of two replays of one item the newer does.
func (r *replays) begin(id int64) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := make(chan struct{})
	r.waiting[id] = done
	return done
}

func (r *replays) end(id int64, done chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[id] == done {
		delete(r.waiting, id)
	}
}

// carriedOut tells of the items among these that what they asked for is stored.
func (r *replays) carriedOut(deliveries []im.Delivery) {
	for i := range deliveries {
		if ref := deliveries[i].Ref; ref != (im.PackRef{}) {
			r.mu.Lock()
			if done := r.waiting[ref.Commit]; done != nil {
				close(done)
				delete(r.waiting, ref.Commit)
			}
			r.mu.Unlock()
		}
	}
}

func (s *Server) publishReplay(ctx context.Context, topic string, pack im.Pack) error {
	confirmed := make(chan error, 1)
	s.queue.Publish(topic, pack.Partition, []im.Pack{pack}, func(err error) { confirmed <- err })
	select {
	case err := <-confirmed:
		if err != nil {
			return fmt.Errorf("publish an item of the quarantine: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the queue's confirm: %w", ctx.Err())
	}
}

func (s *Server) release(ctx context.Context, id int64) error {
	im.CrashPoint(im.CrashReplayed)
	if err := s.store.Release(ctx, id, nil); err != nil && !errors.Is(err, im.ErrNotFound) {
		return fmt.Errorf("release an item of the quarantine: %w", err)
	}
	return nil
}

// replayByOutbox moves an item from the quarantine to the outbox, and what is not in
// the inboxes of it to the queue, which dies with the process.
func (s *Server) replayByOutbox(ctx context.Context, id int64, pack im.Pack) error {
	body, err := s.missing(ctx, pack.Body)
	if err != nil {
		return err
	}
	pack.Body, pack.Ref = body, im.PackRef{Commit: id, Partition: pack.Partition}
	packs := []im.Pack{pack}
	if len(body) == 0 {
		packs = nil
	}
	switch err := s.store.Release(ctx, id, packs); {
	case errors.Is(err, im.ErrNotFound):
		return im.Errorf(im.NotFound, "item %d has just been replayed", id)
	case err != nil:
		return fmt.Errorf("release an item of the quarantine: %w", err)
	}
	im.CrashPoint(im.CrashReplayKept)
	if len(packs) > 0 {
		s.republish(packs)
	}
	return nil
}

// missing returns a pack with only those recipients who have not got it. A store
// with an outbox has no index that would refuse them.
func (s *Server) missing(ctx context.Context, body []byte) ([]byte, error) {
	envelopes, err := decodePack(body)
	if err != nil {
		return nil, err
	}
	left := &imv1.InboxPack{}
	for _, envelope := range envelopes {
		if envelope.GetEvent() != nil || envelope.GetReceipt() != nil { // the others find out by themselves
			if envelope.UserIds, err = s.withoutEntry(ctx, envelope); err != nil {
				return nil, err
			}
			if len(envelope.UserIds) == 0 {
				continue
			}
		}
		left.Envelopes = append(left.Envelopes, envelope)
	}
	return left.MarshalVT()
}

func (s *Server) withoutEntry(ctx context.Context, envelope *imv1.InboxEnvelope) (users []string, err error) {
	entry, err := inboxEntry(envelope)
	if err != nil {
		return nil, err
	}
	keys := make([]im.EntryKey, len(envelope.UserIds))
	for i, id := range envelope.UserIds {
		keys[i] = im.EntryKey{UserID: id, EventID: entry.EventID}
	}
	found, err := s.store.FindEntries(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("look for entries: %w", err)
	}
	has := make(map[string]bool, len(found))
	for _, key := range found {
		has[key.UserID] = true
	}
	for _, id := range envelope.UserIds {
		if !has[id] {
			users = append(users, id)
		}
	}
	return users, nil
}

// late returns the body of an item with everything in it marked.
func late(item *im.Quarantined) ([]byte, error) {
	if item.Topic == TopicInbox {
		envelopes, err := decodePack(item.Body)
		if err != nil {
			return nil, err
		}
		for _, envelope := range envelopes {
			if event := envelope.GetEvent(); event != nil {
				event.Late = true
			}
			if receipt := envelope.GetReceipt(); receipt != nil {
				receipt.Late = true
			}
			if told := envelope.GetContact(); told != nil {
				told.Late = true
			}
		}
		return (&imv1.InboxPack{Envelopes: envelopes}).MarshalVT()
	}
	commands, err := decodeCommands(item.Body)
	if err != nil {
		return nil, err
	}
	for _, c := range commands {
		c.Late = true
	}
	return (&imv1.CommandPack{Commands: commands}).MarshalVT()
}
