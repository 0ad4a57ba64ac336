package http

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// maxPageBytes bounds the encoded entries of a page.
const maxPageBytes = im.MaxServerFrameBytes

type inboxQuery struct {
	After      optional `query:"after" doc:"Inbox seq, exclusive; left out = the device's cursor."`
	Limit      int      `query:"limit" doc:"0 = 50, at most 200; a page may be shorter."`
	InboxEpoch string   `query:"inbox_epoch" doc:"Another than the store's gives too_long."`
}

type ackBody struct {
	Seq        int64Text `json:"seq" doc:"All entries up to it are safe on the device."`
	InboxEpoch string    `json:"inbox_epoch" doc:"Another than the store's is invalid."`
}

// Acked is the cursor in force.
type Acked struct {
	Seq int64Text `json:"seq" doc:"The cursor in force."`
}

type (
	readBody   = protoBody[imv1.Read, *imv1.Read]
	readAnswer = protoBody[imv1.ReadReply, *imv1.ReadReply]
	pageAnswer = protoBody[imv1.SyncReply, *imv1.SyncReply]
)

func (s *Server) inboxRoutes(api huma.API) {
	register(s, api, operation("read-inbox", http.MethodGet, "/v1/inbox", "Inbox", byToken, "Read a page of the inbox",
		"Ascending and contiguous. It moves no cursor. too_long: what follows is no longer kept; start over from the conversations."),
		s.readInbox)
	register(s, api, operation("ack-inbox", http.MethodPost, "/v1/inbox/ack", "Inbox", byToken, "Acknowledge entries",
		"Moves the device's cursor, only up; it is stored before the answer."), s.ackInbox)
	register(s, api, operation("mark-read", http.MethodPost, "/v1/inbox/read", "Inbox", byToken, "Mark a conversation read",
		"Up to a conversation seq: above the head is cut, below the present mark changes nothing."), s.markRead)
}

func (s *Server) readInbox(ctx context.Context, in *inboxQuery) (*answer[pageAnswer], error) {
	limit, err := pageLimit(in.Limit)
	if err != nil {
		return nil, err
	}
	if in.After.value < 0 {
		return nil, invalid("after is negative")
	}
	caller := callerOf(ctx)
	pull := &imv1.PullRequest{
		UserId: caller.UserID, DeviceId: caller.DeviceID, Limit: int32(limit), //nolint:gosec // at most MaxPage
		InboxEpoch: in.InboxEpoch, MaxBytes: maxPageBytes,
	}
	if in.After.given {
		pull.After = &in.After.value
	}
	page, err := s.Pipeline.Pull(ctx, pull)
	if err != nil {
		return nil, wrap("pull inbox", err)
	}
	if page.GetError() != nil {
		return nil, pipelineError(page.GetError())
	}
	return pageOf(page)
}

// pageOf decodes the entries of a page; over HTTP there is one reader of it only.
func pageOf(page *imv1.PullReply) (*answer[pageAnswer], error) {
	said := &imv1.SyncReply{
		Head: page.GetHead(), HasMore: page.GetHasMore(), TooLong: page.GetTooLong(), InboxEpoch: page.GetInboxEpoch(),
	}
	for _, encoded := range page.GetEntries() {
		entry := new(imv1.Entry)
		if err := entry.UnmarshalVT(encoded); err != nil {
			return nil, wrap("decode inbox entry", err)
		}
		said.Entries = append(said.Entries, entry)
	}
	return reply(bodyOf(said)), nil
}

func (s *Server) ackInbox(ctx context.Context, in *request[ackBody]) (*answer[Acked], error) {
	if in.Body.Seq < 0 {
		return nil, invalid("seq is negative")
	}
	if in.Body.InboxEpoch != "" {
		info, err := s.Histories.Info(ctx)
		if err != nil {
			return nil, wrap("read store's epoch", err)
		}
		if info.InboxEpoch != in.Body.InboxEpoch {
			return nil, invalid("the inbox_epoch is not the store's: start over")
		}
	}
	caller := callerOf(ctx)
	head, err := s.inboxHead(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	if int64(in.Body.Seq) > head {
		return nil, invalid("seq %d is above the inbox's head", in.Body.Seq)
	}
	said, err := answered(s.Pipeline.Ack(ctx, &imv1.Acked{
		UserId: caller.UserID, DeviceId: caller.DeviceID, Seq: int64(in.Body.Seq), Durable: true,
	}))
	if err != nil {
		return nil, wrap("store cursor", err)
	}
	return reply(Acked{int64Text(said.GetAckReply().GetSeq())}), nil
}

// inboxHead is the highest seq of a user's inbox as the store has it.
func (s *Server) inboxHead(ctx context.Context, userID string) (int64, error) {
	heads, err := s.Histories.Heads(ctx, []string{userID})
	if err != nil {
		return 0, wrap("read inbox head", err)
	}
	if len(heads) == 0 {
		return 0, nil
	}
	return heads[0].Head, nil
}

func (s *Server) markRead(ctx context.Context, in *request[readBody]) (*answer[readAnswer], error) {
	read := in.Body.message
	if read.GetUpto() < 0 {
		return nil, invalid("upto is negative")
	}
	if _, err := s.staysOf(ctx, callerOf(ctx).UserID, read.GetConversationId()); err != nil {
		return nil, err
	}
	encoded, err := read.MarshalVT()
	if err != nil {
		return nil, wrap("encode read", err)
	}
	said, err := s.publish(ctx, &imv1.Publish{What: &imv1.Publish_Read{Read: encoded}})
	if err != nil {
		return nil, err
	}
	return reply(bodyOf(said.GetReadReply())), nil
}
