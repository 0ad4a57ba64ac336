package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// alterable is among how many of its latest messages a device chooses.
const alterable = 16

// alteration is a recall or an edit that waits for its answer.
type alteration struct {
	message *message
	recall  bool
	text    string // edit: the new one
	key     string // Idempotency-Key
}

// alter begins to recall or edit one of the messages that were acknowledged last, unless
// an answer is outstanding.
func (d *device) alter() {
	if d.altering != nil {
		return
	}
	from := max(0, len(d.stored)-alterable)
	for range alterable {
		if len(d.stored) == 0 {
			return
		}
		if m := d.stored[from+d.dice.IntN(len(d.stored)-from)]; !m.settled {
			d.altered++
			key := check.Key{Device: d.recorded.Ref(), Number: m.number}
			d.run.keys.Store(m.stored, key)
			d.altering = &alteration{
				message: m, recall: d.dice.IntN(3) == 0, key: fmt.Sprintf("%s/%d/alter/%d", d.run.id, d.recorded.Ref(), d.altered),
				text: fmt.Sprintf("%sedit %d", textOf(d.run.id, key, m.size), d.altered),
			}
			return
		}
	}
}

// alterDue asks for the alteration that waits, again and again until there is an answer,
// by HTTP.
func (d *device) alterDue(now time.Time) time.Time {
	switch {
	case d.asking || d.altering == nil:
		return time.Time{}
	case d.alterAt.After(now):
		return d.alterAt
	}
	d.asking = true
	a, token, ctx := d.altering, d.tokens.AccessToken, d.work
	d.aside(func() func() {
		var answer *imv1.Message
		err := d.run.servers.once(ctx, token, func(ctx context.Context, api *client.API) (err error) {
			if api = api.WithKey(a.key); a.recall {
				answer, err = api.Recall(ctx, a.message.stored)
			} else {
				answer, err = api.Edit(ctx, a.message.stored, client.TextContent(a.text), a.message.version)
			}
			return err
		})
		return func() { d.alterAnswered(a, answer, err) }
	})
	return time.Time{}
}

// alterAnswered takes the answer. What was refused for good must not have happened.
func (d *device) alterAnswered(a *alteration, answer *imv1.Message, err error) {
	d.asking = false
	var refusal *im.Error
	done := a.asked(d.user.id)
	switch {
	case err == nil:
		done.Version = answer.GetVersion()
		a.message.version, a.message.settled = answer.GetVersion(), a.recall
	case errors.As(err, &refusal) && refusal.Code == im.Unauthenticated:
		d.noToken = true
		d.away(0, false) // and come back with new ones
		fallthrough
	case refusal == nil, !refusal.Code.Final():
		d.alterAt = time.Now().Add(max(leastPause, mostPause/4))
		return
	default:
		d.tally.refused[refusal.Code]++
		done.Refused, a.message.settled = true, true // a recall comes too late, say
	}
	d.run.history.Alters(check.Key{Device: d.recorded.Ref(), Number: a.message.number}, done)
	d.run.progress()
	d.altering = nil
}

// asked is the alteration as the judge knows it, without an answer.
func (a *alteration) asked(userID string) check.Alteration {
	if a.recall {
		return check.Alteration{Recall: true}
	}
	return check.Alteration{Hash: check.Hash(userID, []byte(a.text))}
}

// settleAlterations tells the judge which had no answer in the end.
func (r *run) settleAlterations() {
	for _, d := range r.devices {
		if a := d.altering; a != nil {
			r.history.Alters(check.Key{Device: d.recorded.Ref(), Number: a.message.number}, a.asked(d.user.id))
		}
	}
}

// recordRecall records that a message was recalled.
func (r *run) recordRecall(log *check.Log, at time.Duration, entry *imv1.Entry) {
	recall := entry.GetRecall()
	log.Altered(check.Altered{
		At: at, Seq: entry.GetSeq(), Conversation: r.conversations[recall.GetConversationId()], ConversationSeq: recall.GetConversationSeq(),
		Key: r.keyOf(recall.GetMessageId()), MessageID: recall.GetMessageId(), Recall: true,
	})
}

// recordEdit records that a message was edited. The content is left out where the message
// has been recalled since.
func (r *run) recordEdit(log *check.Log, at time.Duration, entry *imv1.Entry) {
	edit := entry.GetEdit()
	text := edit.GetContent().GetText()
	log.Altered(check.Altered{
		At: at, Seq: entry.GetSeq(), Conversation: r.conversations[edit.GetConversationId()], ConversationSeq: edit.GetConversationSeq(),
		Key: r.keyOf(edit.GetMessageId()), MessageID: edit.GetMessageId(), Version: edit.GetVersion(),
		Hash: check.Hash(edit.GetBy(), []byte(text)), Bare: edit.GetContent() == nil,
	})
}

// keyOf returns which message of the run an id is of, where somebody has asked to alter
// it: who gets a recalled one has nothing else to tell by.
func (r *run) keyOf(messageID int64) check.Key {
	key, _ := r.keys.Load(messageID)
	known, _ := key.(check.Key)
	return known
}
