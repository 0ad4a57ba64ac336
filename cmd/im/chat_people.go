package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// onPeople does what concerns contacts and blocks.
func (t *talk) onPeople(ctx context.Context, command chatCommand) error {
	api := t.client.API()
	if command.verb == verbContacts {
		return t.contacts(ctx)
	}
	user, err := t.find(ctx, command.words[0])
	if err != nil {
		return err
	}
	rest := strings.Join(command.words[1:], " ")
	switch command.verb {
	case verbAsk:
		return api.AskContact(ctx, user.UserID, rest)
	case verbAccept:
		return api.AnswerContact(ctx, user.UserID, true)
	case verbRefuse:
		return api.AnswerContact(ctx, user.UserID, false)
	case verbForget:
		return api.RemoveContact(ctx, user.UserID)
	case verbRemark:
		return api.RemarkContact(ctx, user.UserID, rest)
	case verbBlock:
		return api.Block(ctx, user.UserID)
	}
	return api.Unblock(ctx, user.UserID)
}

// contacts lists those who are, and the requests that have no answer.
func (t *talk) contacts(ctx context.Context) error {
	api := t.client.API()
	for cursor, more := "", true; more; more = cursor != "" {
		page, next, err := api.Contacts(ctx, cursor, im.MaxPage)
		if err != nil {
			return err
		}
		for i := range page {
			t.learn(page[i].User)
			t.print(contactLine(&page[i]))
		}
		cursor = next
	}
	for cursor, more := "", true; more; more = cursor != "" {
		page, next, err := api.ContactRequests(ctx, cursor, im.MaxPage)
		if err != nil {
			return err
		}
		for i := range page {
			t.learn(page[i].User)
			t.print(contactRequestLine(&page[i]))
		}
		cursor = next
	}
	return nil
}

func contactLine(c *client.Contact) string {
	line := printable(c.Username)
	if c.Remark != "" {
		line += " (" + printable(c.Remark) + ")"
	}
	return line
}

func contactRequestLine(r *client.ContactRequest) string {
	line := "you have asked " + printable(r.Username)
	if r.Incoming {
		line = printable(r.Username) + " asks"
	}
	if r.Text != "" {
		line += ": " + printable(r.Text)
	}
	return line
}

// onView changes how one sees the conversation that one is in.
func (t *talk) onView(ctx context.Context, command chatCommand) error {
	peer, err := t.chosen()
	if err != nil {
		return err
	}
	api, conversation := t.client.API(), peer.conversation(t.who.tokens.UserID)
	yes, no, all := true, false, int64(math.MaxInt64)
	switch command.verb {
	case verbMute:
		return api.ChangeView(ctx, conversation, client.ViewChanges{Muted: &yes})
	case verbUnmute:
		return api.ChangeView(ctx, conversation, client.ViewChanges{Muted: &no})
	case verbClear:
		return api.ChangeView(ctx, conversation, client.ViewChanges{ClearedUpto: &all})
	}
	messages, _, err := api.History(ctx, conversation, client.HistoryQuery{Limit: command.count})
	if err != nil || len(messages) == 0 {
		return err
	}
	ids := make([]int64, len(messages))
	for i, m := range messages {
		ids[i] = m.GetMessageId()
	}
	return api.DeleteMessages(ctx, ids...)
}

// onSelf changes what one is called, or one's password.
func (t *talk) onSelf(ctx context.Context, command chatCommand) error {
	if command.verb == verbPassword {
		return t.client.API().ChangePassword(ctx, command.words[0], command.words[1])
	}
	nickname := strings.Join(command.words, " ")
	return t.client.API().ChangeProfile(ctx, client.ProfileChanges{Nickname: &nickname})
}

// contact says what has changed between oneself and another user.
func (v *chatView) contact(c *imv1.Contact) string {
	who := v.person(c.GetUserId())
	value := func(key string) string { return printable(c.GetData().GetFields()[key].GetStringValue()) }
	own := value("by") == v.self
	switch action := im.ContactAction(c.GetAction()); {
	case action == im.ContactRequested && own:
		return "you asked " + who + " to be a contact"
	case action == im.ContactRequested:
		return strings.TrimSuffix(who+" asks to be a contact: "+value("text"), ": ")
	case action == im.ContactAdded:
		return who + " is a contact now"
	case action == im.ContactRefused && own:
		return "you refused " + who
	case action == im.ContactRefused:
		return who + " refused"
	case action == im.ContactRemoved:
		return who + " is no contact any more"
	case action == im.ContactChanged:
		return fmt.Sprintf("you call %s %s", who, value("remark"))
	case action == im.ContactBlocked:
		return "you blocked " + who
	case action == im.ContactUnblocked:
		return "you unblocked " + who
	}
	return printable(c.GetAction()) + " " + who
}
