package transfer

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// messageStates are what messages have become, by their ids; most have no state.
type messageStates map[int64]*im.MessageState

// statesFor reads the states of the messages among events, and of those that edits among
// them are of.
func (s *Server) statesFor(ctx context.Context, events []im.Event) (messageStates, error) {
	refs := make([]im.MessageRef, 0, len(events))
	for i := range events {
		switch e := &events[i]; e.Kind {
		case im.KindMessage:
			refs = append(refs, e.Ref())
		case im.KindEdit:
			refs = append(refs, im.MessageRef{ConversationID: e.ConversationID, ID: e.TargetID})
		}
	}
	if len(refs) == 0 {
		return nil, nil
	}
	rows, err := s.store.MessageStates(ctx, refs)
	if err != nil || len(rows) == 0 {
		return nil, wrapRead(err)
	}
	states := make(messageStates, len(rows))
	for i := range rows {
		states[rows[i].MessageID] = &rows[i]
	}
	return states, nil
}

func wrapRead(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read message states: %w", err)
}

// appendAsItIs encodes an event as entries show it now, and says in which field. Of a
// message that is recalled, or has expired, nobody is shown the content any more, nor
// what it was edited to.
func (states messageStates) appendAsItIs(b []byte, event *im.Event, userID string, nowMs int64) (protowire.Number, []byte, error) {
	kind, _ := im.ConversationTypeOf(event.ConversationID)
	e := envelopeEvent(event, string(kind))
	own := event.SenderID == userID
	if event.Kind == im.KindEdit {
		if state := states[event.TargetID]; state != nil && (state.Recalled || gone(state.ExpiresAtMs, nowMs)) {
			_, e.Body = fieldOf(e.Body, editContent)
		}
	}
	state := states[event.ID]
	if event.Kind != im.KindMessage || state == nil && !event.Expired(nowMs) {
		field, shown := appendShown(b, e, own)
		return field, shown, nil
	}
	shown, err := appendAltered(b, e, own, state, userID, event.Expired(nowMs))
	return entryMessage, shown, err
}

func gone(expiresAtMs, nowMs int64) bool { return expiresAtMs != 0 && expiresAtMs <= nowMs }

// appendAltered encodes a message as its state shows it to a user; nil: nothing has
// changed it.
func appendAltered(b []byte, e *imv1.Event, own bool, state *im.MessageState, userID string, expired bool) ([]byte, error) {
	version, body := int64(1), e.Body
	if state != nil {
		version = int64(state.Version)
		if state.Body != nil {
			body = state.Body
		}
		if state.Recalled {
			body = nil
		}
	}
	if expired {
		body = nil
	}
	b = appendInt(appendBare(b, e, body, own), messageVersion, version)
	if state == nil {
		return b, nil
	}
	b = appendInt(b, messageEditedAtMs, state.EditedAtMs)
	if state.Recalled {
		return appendInt(b, messageRecalled, 1), nil
	}
	if expired {
		return b, nil
	}
	return appendReactions(b, state, userID)
}

// appendReactions encodes how many have reacted how, and whether the user has.
func appendReactions(b []byte, state *im.MessageState, userID string) ([]byte, error) {
	var reactions imv1.MessageReactions
	if err := reactions.UnmarshalVT(state.Reactions); err != nil {
		return nil, fmt.Errorf("decode the reactions to %d: %w", state.MessageID, err)
	}
	for _, kind := range reactions.Kinds {
		count := imv1.ReactionCount{
			Emoji: kind.Emoji, Count: int32(len(kind.UserIds)), Mine: slices.Contains(kind.UserIds, userID), //nolint:gosec // at most 5,000
		}
		encoded, err := count.MarshalVT()
		if err != nil {
			return nil, fmt.Errorf("encode a reaction: %w", err)
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, messageReactions, protowire.BytesType), encoded)
	}
	return b, nil
}
