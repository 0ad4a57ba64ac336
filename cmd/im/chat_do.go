package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
)

// do carries out a command that needs a log-in. Errors are for the user to read.
func (t *talk) do(ctx context.Context, command chatCommand) error {
	if command.verb == verbSay {
		return t.say(ctx, command.text)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	switch command.verb {
	case verbTo:
		return t.to(ctx, command.words[0])
	case verbHistory:
		return t.history(ctx, command.count)
	case verbList:
		return t.list(ctx)
	case verbRead:
		return t.read(ctx)
	}
	return nil
}

// say sends a text. The line with its mark is printed when the server has it.
func (t *talk) say(ctx context.Context, text string) error {
	peer, err := t.chosen()
	if err != nil {
		return err
	}
	id := client.NewClientMsgID()
	t.mu.Lock()
	t.said[id] = text
	t.mu.Unlock()
	_, err = t.client.SendAsync(ctx, client.ToUser(peer.UserID), client.TextContent(text), client.SendOptions{ClientMsgID: id})
	return err
}

// to finds someone by user name, else by id.
func (t *talk) to(ctx context.Context, who string) error {
	api := t.client.API()
	if name, ok := im.NormalUsername(who); ok {
		users, err := api.FindUsers(ctx, name)
		if err == nil && len(users) > 0 {
			t.learn(users[0])
			t.choose(users[0])
			return nil
		}
	}
	user, err := api.User(ctx, who)
	var refusal *im.Error
	if errors.As(err, &refusal) && refusal.Code == im.NotFound {
		return fmt.Errorf("there is nobody called %s", who)
	}
	if err != nil {
		return err
	}
	t.learn(user)
	t.choose(user)
	return nil
}

func (t *talk) history(ctx context.Context, count int) error {
	peer, err := t.chosen()
	if err != nil {
		return err
	}
	conversation := im.DirectConversation(t.who.tokens.UserID, peer.UserID)
	messages, more, err := t.client.API().History(ctx, conversation, client.HistoryQuery{Limit: count})
	var refusal *im.Error
	if errors.As(err, &refusal) && refusal.Code == im.NotFound {
		messages, err = nil, nil
	}
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("-- with %s: %d messages", printable(peer.Username), len(messages))}
	if more {
		lines[0] += ", there are older ones"
	}
	for _, message := range messages {
		lines = append(lines, t.view.line(message))
	}
	t.print(lines...)
	return nil
}

func (t *talk) list(ctx context.Context) error {
	page, err := t.client.API().Conversations(ctx, client.ConversationQuery{})
	if err != nil {
		return err
	}
	if len(page.Conversations) == 0 {
		t.print("-- no conversations yet")
	}
	for i := range page.Conversations {
		t.print(t.view.conversation(&page.Conversations[i]))
	}
	return nil
}

// read marks all of the conversation as read: the server cuts the mark to what
// there is.
func (t *talk) read(ctx context.Context) error {
	peer, err := t.chosen()
	if err != nil {
		return err
	}
	page, err := t.client.API().Conversations(ctx, client.ConversationQuery{UserID: peer.UserID})
	if err != nil {
		return err
	}
	if len(page.Conversations) == 0 {
		t.print("-- nothing to read")
		return nil
	}
	one := page.Conversations[0]
	reply, err := t.client.Read(ctx, one.ConversationID, one.Head)
	if err != nil {
		return err
	}
	t.print(fmt.Sprintf("-- read, %d unread left", reply.GetUnread()))
	return nil
}
