package http

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

type conversationsQuery struct {
	PageQuery
	UserID string `query:"user_id" doc:"Only the direct conversation with this user."`
}

// ConversationList is a page of a user's conversations.
type ConversationList struct {
	Conversations []Conversation `json:"conversations" nullable:"false" doc:"Newest first."`
	Next          string         `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
	InboxHead     int64Text      `json:"inbox_head" doc:"What is above it in the inbox may not be in the list."`
	InboxEpoch    string         `json:"inbox_epoch"`
}

// Conversation is a line of the list, as its user sees it.
type Conversation struct {
	ConversationID string                                  `json:"conversation_id"`
	Type           im.ConversationType                     `json:"type" enum:"direct,group,room"`
	PeerID         string                                  `json:"peer_id,omitempty" doc:"Direct: the other user, or oneself."`
	Group          *GroupView                              `json:"group,omitempty" doc:"Of a group; of one that one has left only its id."`
	Head           int64Text                               `json:"head" doc:"Highest conversation seq."`
	ReadUpto       int64Text                               `json:"read_upto"`
	Unread         int32                                   `json:"unread" doc:"Exact to 1,000."`
	Mentions       int32                                   `json:"mentions,omitempty" doc:"Those of unread that mention oneself, or all."`
	Muted          bool                                    `json:"muted,omitempty"`
	Pinned         bool                                    `json:"pinned,omitempty"`
	Hidden         bool                                    `json:"hidden,omitempty" doc:"Clients leave it out of their lists."`
	MarkedUnread   bool                                    `json:"marked_unread,omitempty" doc:"Whatever has been read."`
	ClearedUpto    int64Text                               `json:"cleared_upto,omitempty" doc:"Nothing up to this conversation seq is shown."`
	LastMessage    *protoBody[imv1.Message, *imv1.Message] `json:"last_message,omitempty"`
}

func (s *Server) conversationRoutes(api huma.API) {
	register(s, api, operation("list-conversations", http.MethodGet, "/v1/conversations", "Conversations", byToken,
		"List one's conversations", "Newest first."), s.listConversations)
	register(s, api, operation("read-history", http.MethodGet, "/v1/conversations/{id}/messages", "Conversations", byToken,
		"Read a conversation's history", "Ascending by conversation seq, which may have holes. With after from there on, else the "+
			"newest below before. To who is not a member the conversation is not found."), s.readHistory)
	register(s, api, operation("list-reads", http.MethodGet, "/v1/conversations/{id}/reads", "Conversations", byToken,
		"List who has read how far", "Of all members."), s.listReads)
}

// listConversations reads the inbox's head before the list, so that everything up
// to the head is in the list.
func (s *Server) listConversations(ctx context.Context, in *conversationsQuery) (*answer[ConversationList], error) {
	from, limit, err := behindPlace[im.ListCursor](&in.PageQuery)
	if err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	info, err := s.Histories.Info(ctx)
	if err != nil {
		return nil, wrap("read store's epoch", err)
	}
	head, err := s.inboxHead(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	views, next, err := s.viewsOf(ctx, caller.UserID, in.UserID, from, limit)
	if err != nil {
		return nil, err
	}
	list := ConversationList{
		Conversations: make([]Conversation, 0, len(views)), Next: next, InboxHead: int64Text(head), InboxEpoch: info.InboxEpoch,
	}
	var newest []im.Event
	for _, view := range views {
		if view.Last != nil {
			newest = append(newest, *view.Last)
		}
	}
	states, err := s.statesOf(ctx, newest)
	if err != nil {
		return nil, err
	}
	for _, view := range views {
		shown, err := s.conversationOf(view, states, caller.UserID)
		if err != nil {
			return nil, err
		}
		list.Conversations = append(list.Conversations, shown)
	}
	return reply(list), nil
}

// viewsOf returns a page of the list, or the direct conversation with a peer
// alone. It asks for one line more, to know whether there are more.
func (s *Server) viewsOf(ctx context.Context, userID, peerID string, from im.ListCursor, limit int) ([]im.ConversationView, string, error) {
	if peerID != "" {
		if !im.ValidID(peerID) {
			return nil, "", invalid("user_id has at most %d bytes and no control characters", im.MaxIDBytes)
		}
		view, err := s.Histories.ConversationOf(ctx, userID, im.DirectConversation(userID, peerID))
		if errors.Is(err, im.ErrNotFound) {
			return nil, "", nil
		}
		return []im.ConversationView{view}, "", wrap("read conversation", err)
	}
	views, err := s.Histories.ConversationList(ctx, userID, from, limit+1)
	if err != nil {
		return nil, "", wrap("list conversations", err)
	}
	if len(views) <= limit {
		return views, "", nil
	}
	views = views[:limit]
	last := views[limit-1]
	return views, placeCursor(im.ListCursor{LastAtMs: last.LastAtMs, ID: last.ID}), nil
}

// conversationOf puts a line into its JSON form.
func (s *Server) conversationOf(view im.ConversationView, states map[int64]*im.MessageState, userID string) (Conversation, error) {
	shown := Conversation{
		ConversationID: view.ID, Type: view.Type, PeerID: view.PeerID,
		Head: int64Text(view.Head), ReadUpto: int64Text(view.Mark.ReadUpto), Unread: int32(view.Unread), Mentions: int32(view.Mentions), //nolint:gosec // at most MaxUnread
		Muted: view.Mark.Muted.On(), Pinned: view.Mark.Pinned.On(), Hidden: view.Mark.Hidden.On(), MarkedUnread: view.Mark.Unread.On(),
		ClearedUpto: int64Text(view.Mark.ClearedUpto),
	}
	if view.Type == im.Group {
		group, err := groupOf(&view.Conversation)
		if err != nil {
			return shown, err
		}
		if !view.Present { // who has left sees nothing of what came after
			group = &GroupView{GroupID: group.GroupID}
		}
		shown.Group = group
	}
	if view.Last != nil {
		message, err := messageOf(view.Last, states[view.Last.ID], userID, s.nowMs())
		if err != nil {
			return shown, err
		}
		body := bodyOf(message)
		shown.LastMessage = &body
	}
	return shown, nil
}
