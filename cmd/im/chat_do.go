package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
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
	case verbGroup:
		return t.makeGroup(ctx, command.words[0], command.words[1:])
	case verbIn:
		return t.in(ctx, command.words[0])
	case verbJoin:
		return t.join(ctx, command.words[0])
	case verbMembers, verbAdd, verbRemove, verbLeave:
		return t.inGroup(ctx, command)
	case verbDevices, verbName, verbSignOut, verbJournal:
		return t.onDevices(ctx, command)
	case verbContacts, verbAsk, verbAccept, verbRefuse, verbForget, verbRemark, verbBlock, verbUnblock:
		return t.onPeople(ctx, command)
	case verbMute, verbUnmute, verbDelete, verbClear:
		return t.onView(ctx, command)
	case verbRecall, verbEdit, verbReact, verbUnreact, verbReply:
		return t.onMessage(ctx, command)
	case verbNick, verbPassword:
		return t.onSelf(ctx, command)
	case verbWatch:
		return t.watch(ctx, command.words)
	case verbHistory:
		return t.history(ctx, command.count)
	case verbPassport:
		return t.passport(ctx, command.count)
	case verbList:
		return t.list(ctx)
	case verbRead:
		return t.read(ctx)
	}
	return nil
}

// say sends a text. The line with its mark is printed when the server has it.
func (t *talk) say(ctx context.Context, text string) error {
	return t.sayContent(ctx, client.TextContent(text))
}

func (t *talk) sayContent(ctx context.Context, content *imv1.Content) error {
	peer, err := t.chosen()
	if err != nil {
		return err
	}
	id := client.NewClientMsgID()
	t.mu.Lock()
	t.said[id] = content.GetText()
	t.mu.Unlock()
	_, err = t.client.SendAsync(ctx, peer.to(), content, client.SendOptions{ClientMsgID: id})
	return err
}

// to finds someone by user name, else by id.
func (t *talk) to(ctx context.Context, who string) error {
	user, err := t.find(ctx, who)
	if err == nil {
		t.choose(partner{user: user})
	}
	return err
}

// find finds someone by user name, else by id.
func (t *talk) find(ctx context.Context, who string) (client.User, error) {
	api := t.client.API()
	if name, ok := im.NormalUsername(who); ok {
		users, err := api.FindUsers(ctx, name)
		if err == nil && len(users) > 0 {
			t.learn(users[0])
			return users[0], nil
		}
	}
	user, err := api.User(ctx, who)
	if isNotFound(err) {
		return user, fmt.Errorf("there is nobody called %s", who)
	}
	if err == nil {
		t.learn(user)
	}
	return user, err
}

func isNotFound(err error) bool {
	var refusal *im.Error
	return errors.As(err, &refusal) && refusal.Code == im.NotFound
}

func (t *talk) history(ctx context.Context, count int) error {
	peer, err := t.chosen()
	if err != nil {
		return err
	}
	conversation := peer.conversation(t.who.tokens.UserID)
	messages, more, err := t.client.API().History(ctx, conversation, client.HistoryQuery{Limit: count})
	if isNotFound(err) {
		messages, err = nil, nil
	}
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("-- with %s: %d messages", printable(peer.name()), len(messages))}
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
	reply, err := t.client.Read(ctx, peer.conversation(t.who.tokens.UserID), math.MaxInt64)
	if isNotFound(err) {
		t.print("-- nothing to read")
		return nil
	}
	if err != nil {
		return err
	}
	t.print(fmt.Sprintf("-- read, %d unread left", reply.GetUnread()))
	return nil
}
