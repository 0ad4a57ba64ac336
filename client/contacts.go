package client

import (
	"context"
	"net/url"
)

// Contact is a user with whom one has agreed to be contacts.
type Contact struct {
	User
	Remark string `json:"remark"` // what one calls them
}

// ContactRequest is a wish to be contacts that has no answer.
type ContactRequest struct {
	User
	Incoming bool // they have asked; else one has asked them
	Text     string
	AtMs     int64 // Unix milliseconds
}

func cursorValues(cursor string, limit int) url.Values {
	values := pageValues(limit)
	if cursor != "" {
		values.Set("cursor", cursor)
	}
	return values
}

// Contacts returns a page of one's contacts, and the cursor of the next page, empty at
// the end. A limit of 0 is 50, at most 200.
func (a *API) Contacts(ctx context.Context, cursor string, limit int) ([]Contact, string, error) {
	var answer struct {
		Contacts []Contact `json:"contacts"`
		Next     string    `json:"next"`
	}
	err := a.call(ctx, "GET", "/v1/contacts", cursorValues(cursor, limit), nil, &answer)
	return answer.Contacts, answer.Next, err
}

// ContactRequests returns a page of the requests that have no answer, as Contacts.
func (a *API) ContactRequests(ctx context.Context, cursor string, limit int) ([]ContactRequest, string, error) {
	var answer struct {
		Requests []struct {
			User
			Direction string `json:"direction"`
			Text      string `json:"text"`
			AtMs      number `json:"at_ms"`
		} `json:"requests"`
		Next string `json:"next"`
	}
	err := a.call(ctx, "GET", "/v1/contacts/requests", cursorValues(cursor, limit), nil, &answer)
	requests := make([]ContactRequest, 0, len(answer.Requests))
	for _, r := range answer.Requests {
		requests = append(requests, ContactRequest{r.User, r.Direction == "in", r.Text, int64(r.AtMs)})
	}
	return requests, answer.Next, err
}

// AskContact asks a user to be contacts. Who has asked oneself is one at once.
func (a *API) AskContact(ctx context.Context, userID, text string) error {
	return a.call(ctx, "POST", "/v1/contacts/requests", nil, map[string]string{"user_id": userID, "text": text}, nil)
}

// AnswerContact agrees to be a contact of who has asked, or refuses; im.NotFound
// where they have not asked.
func (a *API) AnswerContact(ctx context.Context, userID string, accept bool) error {
	return a.call(ctx, "PUT", "/v1/contacts/requests/"+url.PathEscape(userID), nil, map[string]bool{"accept": accept}, nil)
}

// RemarkContact sets what one calls a contact; empty takes it away.
func (a *API) RemarkContact(ctx context.Context, userID, remark string) error {
	return a.call(ctx, "PATCH", "/v1/contacts/"+url.PathEscape(userID), nil, map[string]string{"remark": remark}, nil)
}

// RemoveContact ends being contacts, for both, or takes one's own request back.
func (a *API) RemoveContact(ctx context.Context, userID string) error {
	return a.call(ctx, "DELETE", "/v1/contacts/"+url.PathEscape(userID), nil, nil, nil)
}

// Block has a user's messages to oneself refused; Unblock ends it.
func (a *API) Block(ctx context.Context, userID string) error {
	return a.call(ctx, "PUT", "/v1/blocks/"+url.PathEscape(userID), nil, nil, nil)
}

// Unblock ends a block.
func (a *API) Unblock(ctx context.Context, userID string) error {
	return a.call(ctx, "DELETE", "/v1/blocks/"+url.PathEscape(userID), nil, nil, nil)
}

// Blocks returns a page of those whom one has blocked, as Contacts. A change is in it
// once its entry is in one's inbox.
func (a *API) Blocks(ctx context.Context, cursor string, limit int) ([]User, string, error) {
	var answer struct {
		Blocks []User `json:"blocks"`
		Next   string `json:"next"`
	}
	err := a.call(ctx, "GET", "/v1/blocks", cursorValues(cursor, limit), nil, &answer)
	return answer.Blocks, answer.Next, err
}
