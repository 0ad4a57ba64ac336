package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// onMessage does what concerns a message of the conversation, counted from the last.
func (t *talk) onMessage(ctx context.Context, command chatCommand) error {
	api := t.client.API()
	words := command.words
	var err error
	switch command.verb {
	case verbRecall:
		err = t.withOwn(ctx, words, func(m *imv1.Message) error { return failure(api.Recall(ctx, m.GetMessageId())) })
	case verbEdit:
		text := client.TextContent(strings.Join(words, " "))
		err = t.withOwn(ctx, nil, func(m *imv1.Message) error {
			text.ThreadId, text.ReplyTo = m.GetContent().GetThreadId(), m.GetContent().GetReplyTo()
			return failure(api.Edit(ctx, m.GetMessageId(), text, m.GetVersion()))
		})
	case verbReact, verbUnreact:
		do := api.React
		if command.verb == verbUnreact {
			do = api.Unreact
		}
		err = t.withMessage(ctx, words[1:], func(*imv1.Message) bool { return true }, func(m *imv1.Message) error {
			return failure(do(ctx, m.GetMessageId(), words[0]))
		})
	case verbReply:
		err = t.withMessage(ctx, words[:1], func(*imv1.Message) bool { return true }, func(m *imv1.Message) error {
			content := client.TextContent(strings.Join(words[1:], " "))
			content.ReplyTo = m.GetMessageId()
			return t.sayContent(ctx, content)
		})
	}
	return err
}

func failure(_ *imv1.Message, err error) error { return err }

func (t *talk) withOwn(ctx context.Context, number []string, do func(*imv1.Message) error) error {
	own := t.who.tokens.UserID
	return t.withMessage(ctx, number, func(m *imv1.Message) bool { return m.GetSenderId() == own && !m.GetRecalled() }, do)
}

// withMessage finds the nth last message of the conversation that fits; 1 where no
// number is said.
func (t *talk) withMessage(ctx context.Context, number []string, fits func(*imv1.Message) bool, do func(*imv1.Message) error) error {
	peer, err := t.chosen()
	if err != nil {
		return err
	}
	n := 1
	if len(number) > 0 {
		if n, err = strconv.Atoi(number[0]); err != nil || n < 1 || n > im.MaxPage {
			return fmt.Errorf("a number from 1 to %d, please", im.MaxPage)
		}
	}
	messages, _, err := t.client.API().History(ctx, peer.conversation(t.who.tokens.UserID), client.HistoryQuery{Limit: im.MaxPage})
	if err != nil && !isNotFound(err) {
		return err
	}
	for i := len(messages) - 1; i >= 0; i-- {
		if !fits(messages[i]) {
			continue
		}
		if n--; n == 0 {
			return do(messages[i])
		}
	}
	return errors.New("there is no such message")
}

// changed says what has become of a message.
func (v *chatView) changed(entry *imv1.Entry) string {
	at := v.clock(entry.GetAtMs())
	switch {
	case entry.GetRecall() != nil:
		return fmt.Sprintf("%s %s took a message back", at, v.person(entry.GetRecall().GetBy()))
	case entry.GetEdit() != nil:
		edit := entry.GetEdit()
		if edit.GetContent() == nil { // it has been taken back since
			return fmt.Sprintf("%s %s edited a message", at, v.person(edit.GetBy()))
		}
		return fmt.Sprintf("%s %s edited: %s", at, v.person(edit.GetBy()), contentText(&imv1.Message{Content: edit.GetContent()}))
	}
	reaction := entry.GetReaction()
	verb := "reacted with"
	if reaction.GetRemoved() {
		verb = "took back"
	}
	return fmt.Sprintf("%s %s %s %s", at, v.person(reaction.GetUserId()), verb, printable(reaction.GetEmoji()))
}

// reactions are shown behind a message.
func reactions(message *imv1.Message) string {
	var shown strings.Builder
	for _, r := range message.GetReactions() {
		fmt.Fprintf(&shown, " %s%d", printable(r.GetEmoji()), r.GetCount())
	}
	return shown.String()
}
