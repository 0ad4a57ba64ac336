package http

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

type recallRequest struct {
	MessagePath
	ChangeKey
}

type editRequest struct {
	MessagePath
	ChangeKey
	Body struct {
		Content   protoBody[imv1.Content, *imv1.Content] `json:"content"`
		IfVersion int32                                  `json:"if_version" doc:"The version that is edited; 0 or left out = any."`
	}
}

type reactRequest struct {
	MessagePath
	ChangeKey
	Emoji string `path:"emoji" doc:"One emoji, URL-encoded."`
}

type messageAnswer = protoBody[imv1.Message, *imv1.Message]

func (s *Server) alterRoutes(api huma.API) {
	register(s, api, operation("recall-message", http.MethodPost, "/v1/messages/{id}/recall", "Messages", byToken, "Recall a message",
		"By its sender for a time, by the owner and the admins of a group at any time. Nobody is shown its content any more."), s.recallMessage)
	register(s, api, operation("edit-message", http.MethodPatch, "/v1/messages/{id}", "Messages", byToken, "Edit a message",
		"By its sender. Another version than if_version is a conflict."), s.editMessage)
	register(s, api, operation("add-reaction", http.MethodPut, "/v1/messages/{id}/reactions/{emoji}", "Messages", byToken, "React to a message",
		"Once with each emoji; a message has at most 20 different ones."), s.addReaction)
	register(s, api, operation("remove-reaction", http.MethodDelete, "/v1/messages/{id}/reactions/{emoji}", "Messages", byToken,
		"Take a reaction away", "One's own."), s.removeReaction)
}

func (s *Server) recallMessage(ctx context.Context, in *recallRequest) (*answer[messageAnswer], error) {
	return s.alter(ctx, in.ID, in.IdempotencyKey, &imv1.MessageChange{Kind: string(im.KindRecall)})
}

func (s *Server) editMessage(ctx context.Context, in *editRequest) (*answer[messageAnswer], error) {
	return s.alter(ctx, in.ID, in.IdempotencyKey, &imv1.MessageChange{
		Kind: string(im.KindEdit), Content: in.Body.Content.message, IfVersion: in.Body.IfVersion,
	})
}

func (s *Server) addReaction(ctx context.Context, in *reactRequest) (*answer[messageAnswer], error) {
	return s.alter(ctx, in.ID, in.IdempotencyKey, &imv1.MessageChange{Kind: string(im.KindReaction), Emoji: in.Emoji})
}

func (s *Server) removeReaction(ctx context.Context, in *reactRequest) (*answer[messageAnswer], error) {
	return s.alter(ctx, in.ID, in.IdempotencyKey, &imv1.MessageChange{Kind: string(im.KindReaction), Emoji: in.Emoji, Removed: true})
}

// alter has a message changed by the pipeline, where the change has its place among the
// conversation's messages, and answers with the message as it is then.
func (s *Server) alter(ctx context.Context, id, key string, change *imv1.MessageChange) (*answer[messageAnswer], error) {
	if key != "" && !im.ValidClientID(key) {
		return nil, invalidKey()
	}
	event, err := s.visibleMessage(ctx, id)
	if err != nil {
		return nil, err
	}
	change.ClientId, change.ConversationId, change.MessageId = key, event.ConversationID, event.ID
	encoded, err := change.MarshalVT()
	if err != nil {
		return nil, invalid("the request holds text that is not UTF-8")
	}
	_, err = s.publish(ctx, &imv1.Publish{
		What: &imv1.Publish_MessageChange{MessageChange: encoded}, StampClientId: true, B3: s.messageTrace(ctx, ""),
	})
	if err != nil {
		return nil, err
	}
	messages, err := s.messagesOf(ctx, []im.Event{*event}, callerOf(ctx).UserID)
	if err != nil {
		return nil, err
	}
	return reply(bodyOf(messages[0])), nil
}

// visibleMessage returns a message that the caller may see; im.NotFound for any other.
func (s *Server) visibleMessage(ctx context.Context, messageID string) (*im.Event, error) {
	id, err := strconv.ParseInt(messageID, 10, 64)
	if err != nil || id <= 0 {
		return nil, noSuchMessage()
	}
	events, err := s.visible(ctx, []int64{id})
	if code := im.AsError(err).Code; err != nil && code == im.Forbidden {
		err = noSuchMessage() // in a room that the caller is not in
	}
	if err != nil {
		return nil, err
	}
	if events[0].Expired(s.nowMs()) {
		return nil, noSuchMessage()
	}
	return &events[0], nil
}
