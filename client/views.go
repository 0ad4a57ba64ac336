package client

import (
	"context"
	"net/url"
	"strconv"
)

// ViewChanges are what ChangeView sets; nil leaves it as it is.
type ViewChanges struct {
	Muted, Pinned, Hidden *bool
	Unread                *bool  // marked as unread, whatever has been read
	ClearedUpto           *int64 // conversation seq up to which nothing is shown any more; it only rises
}

// ChangeView changes how one sees a conversation.
func (a *API) ChangeView(ctx context.Context, conversationID string, changes ViewChanges) error {
	body := map[string]any{}
	for name, flag := range map[string]*bool{
		"muted": changes.Muted, "pinned": changes.Pinned, "hidden": changes.Hidden, "unread": changes.Unread,
	} {
		if flag != nil {
			body[name] = *flag
		}
	}
	if changes.ClearedUpto != nil {
		body["cleared_upto"] = strconv.FormatInt(*changes.ClearedUpto, 10)
	}
	return a.call(ctx, "PATCH", "/v1/conversations/"+url.PathEscape(conversationID), nil, body, nil)
}

// DeleteMessages deletes messages for oneself, at most 200; im.NotFound where one may
// not see one of them: then none is deleted.
func (a *API) DeleteMessages(ctx context.Context, messageIDs ...int64) error {
	ids := make([]string, len(messageIDs))
	for i, id := range messageIDs {
		ids[i] = strconv.FormatInt(id, 10)
	}
	if len(ids) == 1 {
		return a.call(ctx, "DELETE", "/v1/messages/"+ids[0], nil, nil, nil)
	}
	return a.call(ctx, "POST", "/v1/messages/delete", nil, map[string]any{"message_ids": ids}, nil)
}
