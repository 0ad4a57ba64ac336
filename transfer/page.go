package transfer

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Pull reads a page of an inbox. Rows are read first and the floor second, both
// with majority: what a page skips is gone, not late.
func (s *Server) Pull(ctx context.Context, r *imv1.PullRequest) (*imv1.PullReply, error) {
	s.metrics.pages.Inc()
	reply := &imv1.PullReply{InboxEpoch: s.info.InboxEpoch}
	limit, ok := im.PageLimit(int(r.Limit))
	if !ok || r.GetAfter() < 0 {
		reply.Error = errorBody(im.Errorf(im.Invalid, "limit and after must not be negative"))
		return reply, nil
	}
	err := s.signInStands(ctx, r, reply)
	if err == nil && reply.Kicked == nil {
		err = s.pull(ctx, r, limit, reply)
	}
	if err != nil {
		s.complain(s.log, "read an inbox", "error", err)
		reply.Error = errorBody(im.Retry(im.Unavailable, retrySoon, "the store does not answer"))
	}
	return reply, nil
}

// signInStands judges the sign-in of a session whose owner can not. First, so that what is
// read was not there when it ended.
func (s *Server) signInStands(ctx context.Context, r *imv1.PullRequest, reply *imv1.PullReply) error {
	if r.Grant == 0 {
		return nil
	}
	families, err := s.store.Families(ctx, []im.DeviceKey{{UserID: r.UserId, DeviceID: r.DeviceId}})
	if err != nil {
		return fmt.Errorf("read the device's family: %w", err)
	}
	reply.Kicked = endOf(r.Grant, families[0])
	return nil
}

func (s *Server) pull(ctx context.Context, r *imv1.PullRequest, limit int, reply *imv1.PullReply) error {
	after := r.GetAfter()
	if r.After == nil {
		state, err := s.store.LoginState(ctx, r.UserId, r.DeviceId)
		if err != nil {
			return fmt.Errorf("read the cursor: %w", err)
		}
		after = state.Cursor.Seq
		if !state.HasCursor {
			after = state.Floor
		}
	}
	page, err := s.store.Blocks(ctx, r.UserId, after, limit)
	if err != nil {
		return fmt.Errorf("read blocks: %w", err)
	}
	reply.Head = page.Head
	foreign := r.InboxEpoch != "" && r.InboxEpoch != s.info.InboxEpoch
	entries := contiguous(page.Blocks, after, limit)
	gone := page.Floor > after && (len(entries) == 0 || entries[0].seq != after+1)
	if foreign || gone || after > page.Head {
		reply.TooLong = true
		return nil
	}
	if err := s.render(ctx, r.UserId, entries, int(r.MaxBytes), reply); err != nil {
		return err
	}
	last := after + int64(len(reply.Entries))
	reply.FirstSeq, reply.HasMore = after+1, last < page.Head
	return nil
}

// storedEntry is an inbox entry with its seq and its block's time.
type storedEntry struct {
	im.InboxEntry
	seq  int64
	atMs int64
}

// contiguous returns up to limit entries from after+1 on, to the first gap.
func contiguous(blocks []im.Block, after int64, limit int) []storedEntry {
	var entries []storedEntry
	next := after + 1
	for _, block := range blocks {
		for i, e := range block.Entries {
			seq := block.FirstSeq + int64(i)
			if seq < next {
				continue
			}
			if seq > next || len(entries) == limit {
				return entries
			}
			entries = append(entries, storedEntry{e, seq, block.AtMs})
			next++
		}
	}
	return entries
}

// render encodes entries as they are now, up to maxBytes but at least one.
func (s *Server) render(ctx context.Context, userID string, entries []storedEntry, maxBytes int, reply *imv1.PullReply) error {
	view, err := s.viewOf(ctx, userID, entries)
	if err != nil {
		return err
	}
	total := 0
	for i := range entries {
		e := &entries[i]
		var encoded []byte
		if e.MessageID == 0 {
			encoded = append(appendString(appendInt(nil, entrySeq, e.seq), entryKind, string(e.Kind)), e.Data...)
		} else if encoded, err = view.append(e); err != nil {
			return err
		}
		if total += len(encoded); maxBytes > 0 && total > maxBytes && len(reply.Entries) > 0 {
			return nil
		}
		reply.Entries = append(reply.Entries, encoded)
	}
	return nil
}

// pageView is what the events of a page of entries, and their messages, are now.
type pageView struct {
	userID string
	nowMs  int64
	events map[im.EventRef]*im.Event
	marks  map[string]*im.ReadMark // by conversation
	states messageStates

	deleted map[im.EventRef]bool          // cleared, or deleted by the user
	edited  map[im.MessageRef]im.EventRef // where messages are that edits in the page are of
}

func (s *Server) viewOf(ctx context.Context, userID string, entries []storedEntry) (*pageView, error) {
	view := &pageView{userID: userID, nowMs: s.now().UnixMilli(), marks: map[string]*im.ReadMark{}}
	var refs []im.EventRef
	var keys []im.ReadKey
	for _, e := range entries {
		if e.MessageID == 0 {
			continue
		}
		refs = append(refs, im.EventRef{ConversationID: e.ConversationID, Seq: e.ConversationSeq})
		if _, known := view.marks[e.ConversationID]; !known {
			view.marks[e.ConversationID] = nil
			keys = append(keys, im.ReadKey{UserID: userID, ConversationID: e.ConversationID})
		}
	}
	if len(refs) == 0 {
		return view, nil
	}
	rows, err := s.store.EventsAt(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	view.events = make(map[im.EventRef]*im.Event, len(rows))
	for i := range rows {
		e := &rows[i]
		view.events[im.EventRef{ConversationID: e.ConversationID, Seq: e.Seq}] = e
	}
	marks, err := s.store.Marks(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read marks: %w", err)
	}
	for i := range marks {
		view.marks[keys[i].ConversationID] = &marks[i]
	}
	if view.edited, err = s.editedIn(ctx, rows, view.marks); err != nil {
		return nil, err
	}
	for _, ref := range view.edited {
		refs = append(refs, ref)
	}
	if view.deleted, err = s.deletedFor(ctx, userID, refs, view.marks); err != nil {
		return nil, err
	}
	view.states, err = s.statesFor(ctx, rows)
	return view, err
}

// editedIn looks up the messages that edits are of, where the user has deleted or cleared
// something: of those nothing is shown any more, nor what they were edited to.
func (s *Server) editedIn(ctx context.Context, events []im.Event, marks map[string]*im.ReadMark) (map[im.MessageRef]im.EventRef, error) {
	var refs []im.MessageRef
	for i := range events {
		e := &events[i]
		if mark := marks[e.ConversationID]; e.Kind == im.KindEdit && mark.ClearedUpto+mark.DeletedUpto > 0 {
			refs = append(refs, im.MessageRef{ConversationID: e.ConversationID, ID: e.TargetID})
		}
	}
	if len(refs) == 0 {
		return nil, nil
	}
	messages, err := s.store.EventsByID(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("read edited messages: %w", err)
	}
	edited := make(map[im.MessageRef]im.EventRef, len(messages))
	for i := range messages {
		edited[messages[i].Ref()] = im.EventRef{ConversationID: messages[i].ConversationID, Seq: messages[i].Seq}
	}
	return edited, nil
}

// deletedFor returns which events a user has cleared or deleted. It asks the store only
// where a mark says that there can be some.
func (s *Server) deletedFor(ctx context.Context, userID string, refs []im.EventRef, marks map[string]*im.ReadMark) (map[im.EventRef]bool, error) {
	var deleted map[im.EventRef]bool
	var doubtful []im.EventRef
	add := func(ref im.EventRef) {
		if deleted == nil {
			deleted = map[im.EventRef]bool{}
		}
		deleted[ref] = true
	}
	for _, ref := range refs {
		switch mark := marks[ref.ConversationID]; {
		case ref.Seq <= mark.ClearedUpto:
			add(ref)
		case ref.Seq <= mark.DeletedUpto:
			doubtful = append(doubtful, ref)
		}
	}
	if len(doubtful) == 0 {
		return deleted, nil
	}
	found, err := s.store.Deleted(ctx, userID, doubtful)
	if err != nil {
		return nil, fmt.Errorf("read deletes: %w", err)
	}
	for _, ref := range found {
		add(ref)
	}
	return deleted, nil
}

// appendDeletedEntry encodes the entry of a message that its user has deleted for
// themselves: without what it said.
func appendDeletedEntry(b []byte, e *im.Event, atMs int64, hasRead bool) []byte {
	kind, _ := im.ConversationTypeOf(e.ConversationID)
	var room [messageRoom]byte
	shown := appendInt(appendMessage(room[:0], &imv1.Event{
		Id: e.ID, ConversationId: e.ConversationID, ConversationType: string(kind), Seq: e.Seq, SenderId: e.SenderID, AtMs: e.AtMs,
	}, false), messageDeleted, 1)
	b = appendInt(appendString(b, entryKind, string(e.Kind)), entryAtMs, atMs)
	if hasRead {
		b = appendInt(b, entryHasRead, 1)
	}
	return protowire.AppendBytes(protowire.AppendTag(b, entryMessage, protowire.BytesType), shown)
}

// append encodes the entry of an event with its seq.
func (v *pageView) append(e *storedEntry) ([]byte, error) {
	ref := im.EventRef{ConversationID: e.ConversationID, Seq: e.ConversationSeq}
	event, ok := v.events[ref]
	if !ok {
		return nil, fmt.Errorf("event %d of %s is in an inbox and not in messages", e.ConversationSeq, e.ConversationID)
	}
	encoded := appendInt(make([]byte, 0, len(event.Body)+entryRoom), entrySeq, e.seq)
	hasRead := e.ConversationSeq <= v.marks[e.ConversationID].ReadUpto
	if v.deleted[ref] && event.Kind == im.KindMessage {
		return append(appendDeletedEntry(encoded, event, e.atMs, hasRead), e.Data...), nil
	}
	if of := (im.MessageRef{ConversationID: event.ConversationID, ID: event.TargetID}); event.Kind == im.KindEdit && v.deleted[v.edited[of]] {
		bare := *event
		_, bare.Body = fieldOf(event.Body, editContent)
		event = &bare
	}
	var room [messageRoom]byte
	field, shown, err := v.states.appendAsItIs(room[:0], event, v.userID, v.nowMs)
	if err != nil {
		return nil, err
	}
	encoded = appendString(encoded, entryKind, string(event.Kind))
	encoded = appendInt(encoded, entryAtMs, e.atMs)
	if hasRead && field == entryMessage {
		encoded = appendInt(encoded, entryHasRead, 1)
	}
	encoded = protowire.AppendTag(encoded, field, protowire.BytesType)
	return append(protowire.AppendBytes(encoded, shown), e.Data...), nil
}
