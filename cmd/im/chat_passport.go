package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
)

// passport shows what became of the nth newest message of the conversation.
func (t *talk) passport(ctx context.Context, n int) error {
	peer, err := t.chosen()
	if err != nil {
		return err
	}
	api := t.client.API()
	messages, _, err := api.History(ctx, peer.conversation(t.who.tokens.UserID), client.HistoryQuery{Limit: n})
	if err != nil {
		return err
	}
	if len(messages) < n {
		return errors.New("there is no such message")
	}
	message := messages[len(messages)-n]
	t.print(t.view.line(message))
	for cursor, more := "", true; more; more = cursor != "" {
		p, err := api.Passport(ctx, message.GetMessageId(), cursor, im.MaxPage)
		if err != nil {
			return err
		}
		if cursor == "" {
			t.print(t.view.journey(&p))
		}
		for i := range p.Recipients {
			t.print(t.view.delivery(&p, &p.Recipients[i])...)
		}
		cursor = p.Next
	}
	return nil
}

// journey shows the steps that all copies of a message have in common.
func (v *chatView) journey(p *client.Passport) string {
	line := fmt.Sprintf("   accepted %s, sequenced %s as %d", v.moment(p.AcceptedAtMs), elapsed(p.AcceptedAtMs, p.SequencedAtMs), p.ConversationSeq)
	if p.TraceID != "" {
		line += ", trace " + p.TraceID
	}
	return line
}

// delivery shows the way to one user, a line for each device.
func (v *chatView) delivery(p *client.Passport, d *client.Delivery) []string {
	line := "   " + v.person(d.UserID) + ": "
	if d.InboxedAtMs == 0 {
		return []string{line + "not in the inbox, or no longer"}
	}
	line += "in the inbox " + elapsed(p.AcceptedAtMs, d.InboxedAtMs)
	switch {
	case d.ReadAtMs > 0:
		line += ", read " + elapsed(p.AcceptedAtMs, d.ReadAtMs)
	case d.Read:
		line += ", read"
	}
	lines := []string{line}
	for _, on := range d.Devices {
		what := "nothing yet"
		switch {
		case on.AckedAtMs > 0:
			what = "has it " + elapsed(p.AcceptedAtMs, on.AckedAtMs)
		case on.Acked:
			what = "has it"
		case on.WrittenAtMs > 0:
			what = "was written it " + elapsed(p.AcceptedAtMs, on.WrittenAtMs)
		}
		lines = append(lines, "      "+printable(on.Platform)+" "+what)
	}
	return lines
}

func (v *chatView) moment(ms int64) string {
	return time.UnixMilli(ms).In(v.zone).Format("15:04:05.000")
}

// elapsed says how long after something a step was.
func elapsed(from, ms int64) string {
	return fmt.Sprintf("after %v", time.Duration(ms-from)*time.Millisecond)
}
