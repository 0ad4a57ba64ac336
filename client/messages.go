package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Conversation is a line of the conversation list.
type Conversation struct {
	ConversationID string
	Type           string // direct, group or room
	PeerID         string // direct: the other user, or oneself
	GroupID        string // of a group
	GroupName      string // of a group that one is in
	Head           int64  // highest conversation seq
	ReadUpto       int64  // conversation seq
	Unread         int    // exact up to 1,000
	Mentions       int    // those of Unread that mention oneself, or all
	LastMessage    *imv1.Message

	Muted, Pinned bool
	Hidden        bool  // to be left out of lists
	MarkedUnread  bool  // whatever has been read
	ClearedUpto   int64 // nothing up to this conversation seq is shown
}

// ConversationPage is a page of the conversation list, newest first.
type ConversationPage struct {
	Conversations []Conversation
	Next          string // cursor of the next page; empty at the end
	InboxHead     int64  // what is above it may not be in the list
	InboxEpoch    string
}

// ConversationQuery asks for a page of the list, or, with UserID, for the direct
// conversation with that user alone.
type ConversationQuery struct {
	Cursor string
	Limit  int // 0 = 50, at most 200
	UserID string
}

// HistoryQuery asks for messages of a conversation by conversation seq, exclusive.
type HistoryQuery struct {
	Forward bool  // from After on; else the newest below Before
	After   int64 // with Forward; 0 = from the first
	Before  int64 // without; 0 = from the end
	Limit   int   // 0 = 50, at most 200

	ThreadID int64 // only the messages of this thread; 0 = all
}

// InboxQuery asks for a page of the inbox without moving the device's cursor.
type InboxQuery struct {
	After      *int64 // nil = the device's cursor
	Limit      int    // 0 = 50, at most 200
	InboxEpoch string // empty = whatever it is
}

// ReadMark is how far a member has read a conversation.
type ReadMark struct {
	UserID string
	Upto   int64 // conversation seq
}

// SendMessage sends by HTTP. A message whose outcome is not known (no answer, or
// a code that is not final) may be sent again with the same client_msg_id.
func (a *API) SendMessage(ctx context.Context, send *imv1.Send) (Ack, error) {
	var answer imv1.SendAck
	if err := a.call(ctx, "POST", "/v1/messages", nil, send, &answer); err != nil {
		return Ack{}, err
	}
	return ackOf(&answer), nil
}

// Inbox returns a page of the inbox.
func (a *API) Inbox(ctx context.Context, query InboxQuery) (*imv1.SyncReply, error) {
	values := pageValues(query.Limit)
	if query.After != nil {
		values.Set("after", strconv.FormatInt(*query.After, 10))
	}
	if query.InboxEpoch != "" {
		values.Set("inbox_epoch", query.InboxEpoch)
	}
	var page imv1.SyncReply
	err := a.call(ctx, "GET", "/v1/inbox", values, nil, &page)
	return &page, err
}

// AckInbox moves the device's cursor up and returns the one in force. It is
// stored before the answer.
func (a *API) AckInbox(ctx context.Context, seq int64, inboxEpoch string) (int64, error) {
	var answer imv1.AckReply
	err := a.call(ctx, "POST", "/v1/inbox/ack", nil, map[string]string{
		"seq": strconv.FormatInt(seq, 10), "inbox_epoch": inboxEpoch,
	}, &answer)
	return answer.GetSeq(), err
}

// ReadConversation marks a conversation as read up to a conversation seq.
func (a *API) ReadConversation(ctx context.Context, conversationID string, upto int64) (*imv1.ReadReply, error) {
	var answer imv1.ReadReply
	err := a.call(ctx, "POST", "/v1/inbox/read", nil, &imv1.Read{ConversationId: conversationID, Upto: upto}, &answer)
	return &answer, err
}

// Conversations returns a page of the conversation list.
func (a *API) Conversations(ctx context.Context, query ConversationQuery) (ConversationPage, error) {
	values := pageValues(query.Limit)
	for key, value := range map[string]string{"cursor": query.Cursor, "user_id": query.UserID} {
		if value != "" {
			values.Set(key, value)
		}
	}
	var answer conversationAnswer
	if err := a.call(ctx, "GET", "/v1/conversations", values, nil, &answer); err != nil {
		return ConversationPage{}, err
	}
	return answer.page()
}

type conversationAnswer struct {
	Conversations []struct {
		ConversationID string          `json:"conversation_id"`
		Type           string          `json:"type"`
		PeerID         string          `json:"peer_id"`
		Group          Group           `json:"group"`
		Head           number          `json:"head"`
		ReadUpto       number          `json:"read_upto"`
		Unread         int             `json:"unread"`
		Mentions       int             `json:"mentions"`
		LastMessage    json.RawMessage `json:"last_message"`
		Muted          bool            `json:"muted"`
		Pinned         bool            `json:"pinned"`
		Hidden         bool            `json:"hidden"`
		MarkedUnread   bool            `json:"marked_unread"`
		ClearedUpto    number          `json:"cleared_upto"`
	} `json:"conversations"`
	Next       string `json:"next"`
	InboxHead  number `json:"inbox_head"`
	InboxEpoch string `json:"inbox_epoch"`
}

func (a *conversationAnswer) page() (ConversationPage, error) {
	page := ConversationPage{Next: a.Next, InboxHead: int64(a.InboxHead), InboxEpoch: a.InboxEpoch}
	for _, row := range a.Conversations {
		conversation := Conversation{
			ConversationID: row.ConversationID, Type: row.Type, PeerID: row.PeerID, GroupID: row.Group.GroupID, GroupName: row.Group.Name,
			Head: int64(row.Head), ReadUpto: int64(row.ReadUpto), Unread: row.Unread, Mentions: row.Mentions,
			Muted: row.Muted, Pinned: row.Pinned, Hidden: row.Hidden, MarkedUnread: row.MarkedUnread, ClearedUpto: int64(row.ClearedUpto),
		}
		if len(row.LastMessage) > 0 && string(row.LastMessage) != "null" {
			conversation.LastMessage = &imv1.Message{}
			if err := decode(row.LastMessage, conversation.LastMessage); err != nil {
				return ConversationPage{}, fmt.Errorf("decode the last message of %s: %w", row.ConversationID, err)
			}
		}
		page.Conversations = append(page.Conversations, conversation)
	}
	return page, nil
}

// History returns messages of a conversation, ascending, and whether there are
// more in the direction of the query.
func (a *API) History(ctx context.Context, conversationID string, query HistoryQuery) ([]*imv1.Message, bool, error) {
	values := pageValues(query.Limit)
	if query.Forward {
		values.Set("after", strconv.FormatInt(query.After, 10))
	} else if query.Before != 0 {
		values.Set("before", strconv.FormatInt(query.Before, 10))
	}
	if query.ThreadID != 0 {
		values.Set("thread_id", strconv.FormatInt(query.ThreadID, 10))
	}
	// A join_reply has these two fields with the same meaning.
	var answer imv1.JoinReply
	path := "/v1/conversations/" + url.PathEscape(conversationID) + "/messages"
	err := a.call(ctx, "GET", path, values, nil, &answer)
	return answer.GetMessages(), answer.GetHasMore(), err
}

// Reads returns how far every member has read a conversation.
func (a *API) Reads(ctx context.Context, conversationID string) ([]ReadMark, error) {
	var answer struct {
		Reads []struct {
			UserID string `json:"user_id"`
			Upto   number `json:"upto"`
		} `json:"reads"`
	}
	err := a.call(ctx, "GET", "/v1/conversations/"+url.PathEscape(conversationID)+"/reads", nil, nil, &answer)
	marks := make([]ReadMark, 0, len(answer.Reads))
	for _, read := range answer.Reads {
		marks = append(marks, ReadMark{UserID: read.UserID, Upto: int64(read.Upto)})
	}
	return marks, err
}

func pageValues(limit int) url.Values {
	values := url.Values{}
	if limit != 0 {
		values.Set("limit", strconv.Itoa(limit))
	}
	return values
}
