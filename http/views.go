package http

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// ChangeOfView is what a user may set of how they see a conversation.
type ChangeOfView struct {
	Muted       *bool      `json:"muted" doc:"It wakes no device."`
	Pinned      *bool      `json:"pinned"`
	Hidden      *bool      `json:"hidden" doc:"Clients leave it out of their lists."`
	Unread      *bool      `json:"unread" doc:"Marked as unread, whatever has been read."`
	ClearedUpto *int64Text `json:"cleared_upto" doc:"Conversation seq: nothing up to it is shown any more. Above the head is cut; it only rises."`
}

type changeViewRequest struct {
	ID string `path:"id" doc:"A conversation_id."`
	ChangeKey
	Body ChangeOfView
}

// MessagePath names a message.
type MessagePath struct {
	ID string `path:"id" doc:"A message_id."`
}

type deleteMessageRequest struct {
	MessagePath
	ChangeKey
}

type deleteMessagesRequest struct {
	ChangeKey
	Body struct {
		MessageIDs []int64Text `json:"message_ids" doc:"At most 200."`
	}
}

func (s *Server) viewRoutes(api huma.API) {
	register(s, api, operation("change-view", http.MethodPatch, "/v1/conversations/{id}", "Conversations", byToken, "Change one's own view",
		"What is left out stays. One's other devices get an entry, conversation or deleted. To who is not, and was not, a member the conversation "+
			"is not found."), s.changeView)
	register(s, api, operation("delete-message", http.MethodDelete, "/v1/messages/{id}", "Messages", byToken, "Delete a message for oneself",
		"Others still see it. One's other devices get an entry deleted. A message that one may not see is not found."), s.deleteMessage)
	batch := operation("delete-messages", http.MethodPost, "/v1/messages/delete", "Messages", byToken, "Delete messages for oneself",
		"All of them, or, where one is not found, none.")
	batch.DefaultStatus = http.StatusNoContent
	register(s, api, batch, s.deleteMessages)
}

func (s *Server) changeView(ctx context.Context, in *changeViewRequest) (*nothing, error) {
	if _, err := s.staysOf(ctx, callerOf(ctx).UserID, in.ID); err != nil {
		return nil, err
	}
	wanted := &imv1.ViewChange{
		ConversationId: in.ID, Muted: in.Body.Muted, Pinned: in.Body.Pinned, Hidden: in.Body.Hidden, Unread: in.Body.Unread,
	}
	if upto := in.Body.ClearedUpto; upto != nil {
		states, err := s.Histories.Conversations(ctx, []string{in.ID})
		if err != nil {
			return nil, wrap("read conversation", err)
		}
		wanted.ClearedUpto = min(int64(*upto), states[0].Head)
		if wanted.ClearedUpto == 0 && wanted.Muted == nil && wanted.Pinned == nil && wanted.Hidden == nil && wanted.Unread == nil {
			return nil, nil // there is nothing to clear
		}
	}
	return nil, s.changeOwn(ctx, in.IdempotencyKey, &imv1.OwnChange{What: &imv1.OwnChange_View{View: wanted}})
}

// changeOwn has something changed that is the caller's alone. It is in force when this
// returns.
func (s *Server) changeOwn(ctx context.Context, key string, change *imv1.OwnChange) error {
	if key != "" && !im.ValidClientID(key) {
		return invalidKey()
	}
	change.ClientId = key
	encoded, err := change.MarshalVT()
	if err != nil {
		return invalid("the request holds text that is not UTF-8")
	}
	_, err = s.publish(ctx, &imv1.Publish{What: &imv1.Publish_Own{Own: encoded}, StampClientId: true})
	return err
}

func (s *Server) deleteMessage(ctx context.Context, in *deleteMessageRequest) (*nothing, error) {
	id, err := strconv.ParseInt(in.ID, 10, 64)
	if err != nil {
		return nil, noSuchMessage()
	}
	return nil, s.deleteForMe(ctx, in.IdempotencyKey, []int64{id})
}

func (s *Server) deleteMessages(ctx context.Context, in *deleteMessagesRequest) (*nothing, error) {
	if len(in.Body.MessageIDs) == 0 {
		return nil, invalid("message_ids must name what is deleted")
	}
	if len(in.Body.MessageIDs) > im.MaxDeleteMessages {
		return nil, im.Errorf(im.TooLarge, "at most %d messages are deleted at once", im.MaxDeleteMessages)
	}
	ids := make([]int64, 0, len(in.Body.MessageIDs))
	for _, id := range in.Body.MessageIDs {
		ids = append(ids, int64(id))
	}
	slices.Sort(ids)
	return nil, s.deleteForMe(ctx, in.IdempotencyKey, slices.Compact(ids))
}

func noSuchMessage() error { return im.Errorf(im.NotFound, "there is no such message") }

// deleteForMe takes messages out of the caller's view. What is out of it already is
// left out; a repeat of the request is known by its key all the same.
func (s *Server) deleteForMe(ctx context.Context, key string, ids []int64) error {
	events, err := s.visible(ctx, ids)
	if err != nil {
		return err
	}
	userID := callerOf(ctx).UserID
	refs := make([]im.EventRef, len(events))
	for i, e := range events {
		refs[i] = im.EventRef{ConversationID: e.ConversationID, Seq: e.Seq}
	}
	gone, err := s.Histories.Deleted(ctx, userID, refs)
	if err != nil {
		return wrap("read deletes", err)
	}
	wanted := &imv1.DeleteForMe{}
	for i, e := range events {
		if !slices.Contains(gone, refs[i]) {
			wanted.Messages = append(wanted.Messages, &imv1.MessagePlace{
				ConversationId: e.ConversationID, ConversationSeq: e.Seq, MessageId: e.ID,
			})
		}
	}
	if len(wanted.Messages) == 0 {
		return nil
	}
	return s.changeOwn(ctx, key, &imv1.OwnChange{What: &imv1.OwnChange_Delete{Delete: wanted}})
}

// visible returns the messages with these ids; im.NotFound unless the caller may see
// every one.
func (s *Server) visible(ctx context.Context, ids []int64) ([]im.Event, error) {
	events, err := s.Histories.EventsByID(ctx, im.MessageRefs(ids...))
	if err != nil {
		return nil, wrap("look up messages", err)
	}
	if len(events) < len(ids) {
		return nil, noSuchMessage()
	}
	stays := map[string][]im.Member{}
	for i := range events {
		e := &events[i]
		if _, looked := stays[e.ConversationID]; !looked {
			found, err := s.staysOf(ctx, callerOf(ctx).UserID, e.ConversationID)
			if err != nil && im.AsError(err).Code != im.NotFound {
				return nil, err
			}
			stays[e.ConversationID] = found
		}
		within := func(m im.Member) bool { return m.JoinedSeq <= e.Seq && e.Seq <= m.LeftSeq }
		if e.Kind != im.KindMessage || !slices.ContainsFunc(stays[e.ConversationID], within) {
			return nil, noSuchMessage()
		}
	}
	return events, nil
}
