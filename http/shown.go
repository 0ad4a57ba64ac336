package http

import (
	"context"
	"slices"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// messagesOf are messages as a user sees them now.
func (s *Server) messagesOf(ctx context.Context, events []im.Event, userID string) ([]*imv1.Message, error) {
	states, err := s.statesOf(ctx, events)
	if err != nil {
		return nil, err
	}
	messages := make([]*imv1.Message, len(events))
	for i := range events {
		if messages[i], err = messageOf(&events[i], states[events[i].ID], userID, s.nowMs()); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// statesOf returns what has changed of messages, by their ids.
func (s *Server) statesOf(ctx context.Context, events []im.Event) (map[int64]*im.MessageState, error) {
	if len(events) == 0 {
		return nil, nil
	}
	refs := make([]im.MessageRef, len(events))
	for i := range events {
		refs[i] = events[i].Ref()
	}
	rows, err := s.Histories.MessageStates(ctx, refs)
	if err != nil {
		return nil, wrap("read message states", err)
	}
	states := make(map[int64]*im.MessageState, len(rows))
	for i := range rows {
		states[rows[i].MessageID] = &rows[i]
	}
	return states, nil
}

// messageOf is a message as a user sees it: the newest body with the event's header
// around it, without a body where it is recalled or has expired. Only the sender learns
// what their device called it. A state of nil is that of a message that nothing has
// changed.
func messageOf(event *im.Event, state *im.MessageState, userID string, nowMs int64) (*imv1.Message, error) {
	if state == nil {
		unchanged := im.StateOf(event)
		state = &unchanged
	}
	message := new(imv1.Message)
	body := event.Body
	if state.Body != nil {
		body = state.Body
	}
	if hidden := state.Recalled || event.Expired(nowMs); !hidden {
		if err := message.UnmarshalVT(body); err != nil {
			return nil, wrap("decode message body", err)
		}
		var err error
		if message.Reactions, err = reactionsOf(state, userID); err != nil {
			return nil, err
		}
	}
	kind, _ := im.ConversationTypeOf(event.ConversationID)
	message.MessageId = event.ID
	message.ConversationId = event.ConversationID
	message.ConversationType = string(kind)
	message.ConversationSeq = event.Seq
	message.SenderId = event.SenderID
	message.SentAtMs = event.AtMs
	message.ExpiresAtMs = event.ExpiresAtMs
	message.Version, message.EditedAtMs, message.Recalled = state.Version, state.EditedAtMs, state.Recalled
	message.NoUnread = !event.Counted
	if event.SenderID == userID {
		message.SenderDeviceId, message.ClientMsgId = event.DeviceID, event.ClientID
	}
	return message, nil
}

// reactionsOf counts the reactions to a message by kind, and says which are the user's.
func reactionsOf(state *im.MessageState, userID string) ([]*imv1.ReactionCount, error) {
	var reactions imv1.MessageReactions
	if err := reactions.UnmarshalVT(state.Reactions); err != nil {
		return nil, wrap("decode reactions", err)
	}
	var counts []*imv1.ReactionCount
	for _, kind := range reactions.Kinds {
		counts = append(counts, &imv1.ReactionCount{
			Emoji: kind.Emoji, Count: int32(len(kind.UserIds)), Mine: slices.Contains(kind.UserIds, userID), //nolint:gosec // at most 5,000
		})
	}
	return counts, nil
}
