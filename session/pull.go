package session

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// pullBytes bounds the entries of a page.
const pullBytes = 256 << 10

// pump has the entries between the cursor and the head pulled, a page at a time,
// as long as the window is open and the device takes them. It is called whenever
// one of these has changed. The caller holds mu.
func (s *Session) pump() {
	if s.phase != phaseLive || s.closing || s.feeding || s.head <= s.cursor {
		return
	}
	if s.room() <= 0 {
		s.progress(0) // the head may have come up to what was acked
	}
	if s.room() <= 0 {
		if s.stalled == 0 {
			s.stalled = max(1, s.hub.now())
			s.setDeadline()
		}
		return
	}
	if s.pending() < highWater {
		s.feeding = true
		s.hub.crew.start(s, (*Session).feed)
	}
}

// pull reads a page. While the owner of the inbox is not known here, which would say that the
// device has been signed out, whoever reads the page looks.
func (s *Session) pull(ctx context.Context, request *imv1.PullRequest) (*imv1.PullReply, error) {
	s.mu.Lock()
	if s.owner == nil {
		request.Grant = s.grant
	}
	s.mu.Unlock()
	page, err := s.hub.link.Pull(ctx, request)
	if err == nil && page.Kicked != nil {
		s.kicked(page.Kicked)
		return nil, im.Retry(im.Unavailable, time.Second, "the session has ended")
	}
	return page, err
}

// feed pulls one page and puts it into the outbox.
func (s *Session) feed() {
	s.mu.Lock()
	after, limit := s.cursor, min(s.room(), im.MaxPage)
	s.mu.Unlock()
	page, err := s.pull(s.hub.ctx, &imv1.PullRequest{
		UserId: s.user, DeviceId: s.device, After: &after, Limit: int32(limit), //nolint:gosec // at most MaxPage
		InboxEpoch: s.epoch, MaxBytes: pullBytes,
	})
	switch {
	case err == nil && page.TooLong:
		s.disconnect(im.Slow, "the inbox is no longer retained from here", time.Second)
	case err == nil && page.Error == nil && page.FirstSeq == after+1:
		s.fed(page)
	default:
		s.feedLater(page)
	}
	s.flush()
}

// fed writes a page's entries.
func (s *Session) fed(page *imv1.PullReply) {
	entries := page.Entries
	if len(entries) == 0 {
		s.feedLater(page)
		return
	}
	if s.form != wire.Proto {
		var err error
		if entries, err = entriesJSON(entries); len(entries) == 0 {
			s.unreadable(page.FirstSeq, err)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeding, s.misses = false, 0
	if s.closing {
		return
	}
	for _, entry := range entries {
		s.deliver(0, entry, "")
	}
	s.cursor += int64(len(entries))
	s.head = max(s.head, page.Head)
	s.pump()
}

// entriesJSON returns the entries in front of the first that can not be decoded, and
// why that can not.
func entriesJSON(entries [][]byte) ([][]byte, error) {
	texts := make([][]byte, 0, len(entries))
	for _, entry := range entries {
		text, err := wire.EntryJSON(entry)
		if err != nil {
			return texts, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// unreadableRetry is what a client is asked to wait that has come to an entry which
// this server can not show.
const unreadableRetry = 30 * time.Second

// unreadable ends the session in front of an entry that can not be decoded. To pass
// it over would lose it; and the client may come back to a server of another
// version, which can.
func (s *Session) unreadable(seq int64, err error) {
	s.hub.unreadable.Add(1)
	s.hub.log.Error("an inbox entry can not be decoded; the session ends in front of it", "user", s.user, "seq", seq, "error", err)
	s.disconnect(im.DisconnectUnavailable, "this server can not show the next entry of the inbox", unreadableRetry)
}

// feedLater tries again soon: the store is away, or does not show yet what has
// been pushed.
func (s *Session) feedLater(page *imv1.PullReply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = max(s.head, page.GetHead())
	delay := 50 * time.Millisecond << s.misses
	s.misses = min(s.misses+1, 5)
	time.AfterFunc(delay/2+rand.N(delay), s.feedAgain)
}

func (s *Session) feedAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeding = false
	s.pump()
}

// sync answers a page without moving anything. A session has one at a time.
func (s *Session) sync(frame wire.Frame) {
	var sync imv1.Sync
	if !s.decode(frame, &sync) {
		return
	}
	limit, ok := im.PageLimit(int(sync.Limit))
	if !ok || sync.GetAfter() < 0 {
		s.answer(frame.Seq, im.Errorf(im.Invalid, "limit or after is negative"))
		return
	}
	request := &imv1.PullRequest{
		UserId: s.user, DeviceId: s.device, After: sync.After, Limit: int32(limit), //nolint:gosec // at most MaxPage
		InboxEpoch: sync.InboxEpoch, MaxBytes: int32(s.hub.config.MaxFrame / 2), //nolint:gosec // a setting
	}
	if s.beginSync() {
		s.hub.crew.start(s, func(s *Session) { s.answerSync(frame.Seq, request) })
	}
}

// beginSync waits for a former sync to end.
func (s *Session) beginSync() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closing && s.syncing {
		s.wait(nil, time.Second)
	}
	s.syncing = !s.closing
	return s.syncing
}

func (s *Session) answerSync(seq int32, request *imv1.PullRequest) {
	frame, refusal := s.syncReply(s.hub.ctx, seq, request)
	s.mu.Lock()
	s.syncing = false
	if refusal != nil {
		s.refuse(seq, refusal)
	} else {
		s.putFrame(frame)
	}
	s.wake()
	s.mu.Unlock()
	s.flush()
}

// pullFromCursor pulls a page. Where the client names no seq it begins at the
// device's cursor: the stored one, which an ack over HTTP may have moved, or what
// was acknowledged here and is not stored yet, whichever is higher.
func (s *Session) pullFromCursor(ctx context.Context, request *imv1.PullRequest) (*imv1.PullReply, error) {
	page, err := s.pull(ctx, request)
	if err != nil || request.After != nil {
		return page, err
	}
	s.mu.Lock()
	acked := s.acked
	s.mu.Unlock()
	if page.FirstSeq == 0 || page.FirstSeq > acked {
		return page, nil
	}
	request.After = &acked
	return s.pull(ctx, request)
}

func (s *Session) syncReply(ctx context.Context, seq int32, request *imv1.PullRequest) ([]byte, *im.Error) {
	page, err := s.pullFromCursor(ctx, request)
	if err != nil {
		return nil, im.AsError(err)
	}
	if page.Error != nil {
		return nil, refusalOf(page.Error)
	}
	tail := &imv1.SyncReply{Head: page.Head, HasMore: page.HasMore, TooLong: page.TooLong, InboxEpoch: page.InboxEpoch}
	frame, err := wire.AppendSyncReply(nil, s.form, seq, page.Entries, tail, s.hub.config.MaxFrame)
	if err != nil {
		s.hub.log.Error("encode a page", "user", s.user, "error", err)
		return nil, im.AsError(err)
	}
	return frame, nil
}
