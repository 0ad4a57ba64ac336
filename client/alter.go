package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

func messagePath(messageID int64, rest ...string) string {
	path := "/v1/messages/" + strconv.FormatInt(messageID, 10)
	for _, part := range rest {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// Recall takes a message back and returns it as it is then, without content: for its
// sender, for a time that the server sets, and for the owner and the admins of a group.
// One that was recalled before is returned as it is.
func (a *API) Recall(ctx context.Context, messageID int64) (*imv1.Message, error) {
	var message imv1.Message
	err := a.call(ctx, "POST", messagePath(messageID, "recall"), nil, nil, &message)
	return &message, err
}

// Edit gives a message of one's own another content and returns it as it is then.
// im.Conflict when its version is not ifVersion; 0 = any.
func (a *API) Edit(ctx context.Context, messageID int64, content *imv1.Content, ifVersion int32) (*imv1.Message, error) {
	encoded, err := encode(content)
	if err != nil {
		return nil, fmt.Errorf("encode a content: %w", err)
	}
	body := struct {
		Content   json.RawMessage `json:"content"`
		IfVersion int32           `json:"if_version,omitempty"`
	}{encoded, ifVersion}
	var message imv1.Message
	err = a.call(ctx, "PATCH", messagePath(messageID), nil, body, &message)
	return &message, err
}

// React adds one's reaction to a message, an emoji, and returns the message as it is then.
func (a *API) React(ctx context.Context, messageID int64, emoji string) (*imv1.Message, error) {
	var message imv1.Message
	err := a.call(ctx, "PUT", messagePath(messageID, "reactions", emoji), nil, nil, &message)
	return &message, err
}

// Unreact takes one's reaction away, and returns the message as it is then.
func (a *API) Unreact(ctx context.Context, messageID int64, emoji string) (*imv1.Message, error) {
	var message imv1.Message
	err := a.call(ctx, "DELETE", messagePath(messageID, "reactions", emoji), nil, nil, &message)
	return &message, err
}
