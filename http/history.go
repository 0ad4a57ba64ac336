package http

import (
	"context"
	"slices"

	"github.com/im-transfer/im"
)

type historyQuery struct {
	ID     string   `path:"id" doc:"A conversation_id."`
	Before optional `query:"before" doc:"Conversation seq, exclusive; 0 or left out = from the end."`
	After  optional `query:"after" doc:"Conversation seq, exclusive; given, the page goes on from there."`
	Limit  int      `query:"limit" doc:"0 = 50, at most 200; a page may be shorter."`

	ThreadID int64 `query:"thread_id" doc:"Only the messages of this thread, without the one that it is about."`
}

type conversationPath struct {
	ID string `path:"id" doc:"A conversation_id."`
}

// History is a page of a conversation's messages.
type History struct {
	Messages []messageAnswer `json:"messages" nullable:"false" doc:"Ascending by conversation_seq."`
	HasMore  bool            `json:"has_more" doc:"In the direction that was asked for."`
}

// Reads says how far the members have read.
type Reads struct {
	Reads []MemberRead `json:"reads" nullable:"false"`
}

// MemberRead says how far a member has read.
type MemberRead struct {
	UserID string    `json:"user_id"`
	Upto   int64Text `json:"upto" doc:"Conversation seq."`
}

func (s *Server) readHistory(ctx context.Context, in *historyQuery) (*answer[History], error) {
	limit, err := pageLimit(in.Limit)
	if err != nil {
		return nil, err
	}
	if in.Before.value < 0 || in.After.value < 0 {
		return nil, invalid("before and after must not be negative")
	}
	caller := callerOf(ctx)
	stays, err := s.staysOf(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	marks, err := s.Histories.Marks(ctx, []im.ReadKey{{UserID: caller.UserID, ConversationID: in.ID}})
	if err != nil {
		return nil, wrap("read mark", err)
	}
	events, more, err := s.Histories.History(ctx, im.EventRange{
		Viewer:         marks[0],
		ConversationID: in.ID, After: in.After.value, Before: in.Before.value, Forward: in.After.given, ThreadID: in.ThreadID,
		Limit: limit, Stays: stays,
	})
	if err != nil {
		return nil, wrap("read history", err)
	}
	if in.After.given && in.Before.value > 0 { // both: the page ends below before
		if end := slices.IndexFunc(events, func(e im.Event) bool { return e.Seq >= in.Before.value }); end >= 0 {
			events, more = events[:end], false
		}
	}
	messages, err := s.messagesOf(ctx, events, caller.UserID)
	if err != nil {
		return nil, err
	}
	page := History{Messages: make([]messageAnswer, 0, len(messages)), HasMore: more}
	for _, message := range messages {
		page.Messages = append(page.Messages, bodyOf(message))
	}
	return reply(page), nil
}

// staysOf returns a user's stays in a conversation; im.NotFound when there are
// none.
func (s *Server) staysOf(ctx context.Context, userID, conversation string) ([]im.Member, error) {
	notFound := im.Errorf(im.NotFound, "there is no such conversation")
	if !conversationID(conversation) {
		return nil, notFound
	}
	if im.IsRoom(conversation) {
		return s.roomStay(ctx, userID, conversation)
	}
	stays, err := s.Histories.Stays(ctx, userID, conversation)
	if err != nil {
		return nil, wrap("look up membership", err)
	}
	if len(stays) == 0 {
		return nil, notFound
	}
	return s.withFormerHistory(ctx, conversation, stays)
}

// withFormerHistory lets a present member see what was before, where a group is set so.
func (s *Server) withFormerHistory(ctx context.Context, conversation string, stays []im.Member) ([]im.Member, error) {
	kind, _ := im.ConversationTypeOf(conversation)
	if kind != im.Group || !slices.ContainsFunc(stays, present) {
		return stays, nil
	}
	states, err := s.Histories.Conversations(ctx, []string{conversation})
	if err != nil {
		return nil, wrap("read conversation", err)
	}
	settings, err := settingsOf(&states[0].Conversation)
	if err != nil || settings.History != im.HistoryAll {
		return stays, err
	}
	return []im.Member{{ConversationID: conversation, UserID: stays[0].UserID, JoinedSeq: 1, LeftSeq: im.Forever}}, nil
}

// present reports whether a stay has not ended.
func present(m im.Member) bool { return m.LeftSeq == im.Forever }

// listReads is for present members: who has left sees no more of what they do.
func (s *Server) listReads(ctx context.Context, in *conversationPath) (*answer[Reads], error) {
	stays, err := s.staysOf(ctx, callerOf(ctx).UserID, in.ID)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(stays, present)
	if at < 0 {
		return nil, im.Errorf(im.NotFound, "there is no such conversation")
	}
	marks, err := s.Histories.ReadMarksOf(ctx, in.ID)
	if err != nil {
		return nil, wrap("read marks", err)
	}
	reads := Reads{Reads: make([]MemberRead, 0, len(marks))}
	for _, mark := range marks {
		if stays[at].Blocked && mark.UserID != callerOf(ctx).UserID { // by the peer, of whom nothing more is told
			continue
		}
		reads.Reads = append(reads.Reads, MemberRead{mark.UserID, int64Text(mark.ReadUpto)})
	}
	return reply(reads), nil
}
