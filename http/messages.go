package http

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

type sendRequest struct {
	IdempotencyKey string `header:"Idempotency-Key" doc:"Acts as client_msg_id where the body has none; 1 to 64 bytes."`
	Body           protoBody[imv1.Send, *imv1.Send]
}

type sendAnswer = protoBody[imv1.SendAck, *imv1.SendAck]

func (s *Server) messageRoutes(api huma.API) {
	register(s, api, operation("send-message", http.MethodPost, "/v1/messages", "Messages", byToken, "Send a message",
		"A repeat with the same client_msg_id answers with the first one's ids and duplicate, with other content conflict. "+
			"Rooms are sent to over a connection only."), s.sendMessage)
}

func (s *Server) sendMessage(ctx context.Context, in *sendRequest) (*answer[sendAnswer], error) {
	send := in.Body.message
	if send.GetClientMsgId() == "" && in.IdempotencyKey != "" {
		if !im.ValidClientID(in.IdempotencyKey) {
			return nil, invalidKey()
		}
		send.ClientMsgId = in.IdempotencyKey
	}
	if toRoom(send.GetTo()) {
		return nil, im.Errorf(im.Forbidden, "a room is sent to over a connection that has joined it")
	}
	encoded, err := send.MarshalVT()
	if err != nil {
		return nil, wrap("encode send", err)
	}
	answered, err := s.publish(ctx, &imv1.Publish{
		What: &imv1.Publish_Send{Send: encoded}, StampClientId: true, B3: s.messageTrace(ctx, send.GetB3()),
	})
	if err != nil {
		return nil, err
	}
	return reply(bodyOf(answered.GetSendAck())), nil
}

func toRoom(to *imv1.To) bool {
	return to.GetRoomId() != "" || strings.HasPrefix(to.GetConversationId(), "r") && conversationID(to.GetConversationId())
}

// conversationID reports whether an id can be a conversation's.
func conversationID(id string) bool {
	_, ok := im.ConversationTypeOf(id)
	return ok
}

// publish hands a request of the caller to the pipeline. What it refuses comes
// back as an error.
func (s *Server) publish(ctx context.Context, publish *imv1.Publish) (*imv1.Reply, error) {
	caller := callerOf(ctx)
	publish.UserId, publish.DeviceId = caller.UserID, caller.DeviceID
	reply, err := s.Pipeline.Publish(ctx, publish)
	im.CrashPoint(im.CrashCallAnswered)
	return answered(reply, err)
}

func answered(reply *imv1.Reply, err error) (*imv1.Reply, error) {
	if err == nil && reply.GetError() != nil {
		err = pipelineError(reply.GetError())
	}
	return reply, err
}
