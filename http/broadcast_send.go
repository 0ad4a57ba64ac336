package http

import (
	"context"
	"sync"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// broadcastAtOnce is how many messages of a broadcast are on their way at once.
	broadcastAtOnce = 64
	// broadcastPause is the time before a message is sent again that may not be stored.
	broadcastPause = 500 * time.Millisecond
	// defaultRetry is what a client is asked to wait that does not know what was done.
	defaultRetry = time.Second
	// broadcastDevice stands for a device where a broadcast is sent.
	broadcastDevice = "broadcast"
)

// send sends the next part of a broadcast, and then raises its progress, up to the first
// who has no answer yet: whoever dies in between has the part sent again, as repeats.
func (b *broadcaster) send(ctx context.Context, id string) error {
	what, p, err := b.nextPart(ctx, id)
	if err != nil || what.State != im.BroadcastRunning {
		return err
	}
	sending, cancel := context.WithTimeout(ctx, sendTimeout)
	b.sendTo(sending, what, p.receivers)
	cancel()
	progress := im.BroadcastProgress{Cursor: what.Cursor, Sent: what.Sent, Refused: what.Refused}
	answered := 0
	for ; answered < len(p.receivers) && p.receivers[answered].outcome != unanswered; answered++ {
		r := &p.receivers[answered]
		progress.Cursor = r.name
		if r.outcome == stored {
			progress.Sent++
		} else {
			progress.Refused++
		}
	}
	if whole := answered == len(p.receivers); whole {
		progress.Cursor = p.next
		if p.last {
			progress.State = im.BroadcastDone
		}
	} else {
		b.failed("wait for answers", im.Retry(im.Unavailable, 0, "a part of the broadcast may not be stored"))
	}
	raising, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return wrap("raise a broadcast's progress", b.server.Broadcasts.RaiseBroadcast(raising, what.ID, progress))
}

// nextPart reads a broadcast and who is next.
func (b *broadcaster) nextPart(ctx context.Context, id string) (*im.Broadcast, part, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	what, err := b.server.Broadcasts.Broadcast(ctx, id)
	if err != nil || what.State != im.BroadcastRunning {
		return &what, part{}, wrap("read a broadcast", err)
	}
	p, err := b.part(ctx, &what)
	if err == nil {
		err = b.refuseDisabled(ctx, p.receivers)
	}
	return &what, p, err
}

// part is what is sent in one step.
type part struct {
	receivers []receiver // by name
	next      string     // the cursor behind it
	last      bool
}

// receiver is one message of a broadcast: whom it is for, the name of that in its id, and
// what has become of it.
type receiver struct {
	to      *imv1.To
	name    string
	outcome outcome
}

// outcome is what is known of a message.
type outcome int

const (
	unanswered outcome = iota // it may be stored, or not
	stored
	refused // for good
)

// part returns whom the next part goes to.
func (b *broadcaster) part(ctx context.Context, what *im.Broadcast) (p part, err error) {
	if what.RoomID != "" {
		p.receivers = []receiver{{to: &imv1.To{To: &imv1.To_RoomId{RoomId: what.RoomID}}, name: what.RoomID}}
		p.next, p.last = what.RoomID, true
		return p, nil
	}
	var users []string
	if what.All {
		if users, err = b.server.Broadcasts.UsersAfter(ctx, what.Cursor, what.PerSecond); err != nil {
			return p, wrap("walk users", err)
		}
	} else {
		for _, id := range what.UserIDs {
			if id > what.Cursor && len(users) < what.PerSecond {
				users = append(users, id)
			}
		}
	}
	p.next, p.last = what.Cursor, len(users) < what.PerSecond
	for _, id := range users {
		p.next = id
		if id != what.SenderID {
			p.receivers = append(p.receivers, receiver{to: &imv1.To{To: &imv1.To_UserId{UserId: id}}, name: id})
		}
	}
	return p, nil
}

// refuseDisabled refuses those whose account is disabled, or deleted: the pipeline would not,
// where there is a conversation from before.
func (b *broadcaster) refuseDisabled(ctx context.Context, receivers []receiver) error {
	var ids []string
	for _, r := range receivers {
		if r.to.GetUserId() != "" {
			ids = append(ids, r.name)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	users, err := b.server.Accounts.UsersByID(ctx, ids)
	if err != nil {
		return wrap("look up users", err)
	}
	disabled := make(map[string]bool)
	for i := range users {
		disabled[users[i].ID] = users[i].Disabled || users[i].Deleted
	}
	for i := range receivers {
		if disabled[receivers[i].name] {
			receivers[i].outcome = refused
		}
	}
	return nil
}

// sendTo sends to all receivers, several at once, until each has an answer that is final,
// or ctx ends.
func (b *broadcaster) sendTo(ctx context.Context, what *im.Broadcast, receivers []receiver) {
	var running sync.WaitGroup
	slots := make(chan struct{}, broadcastAtOnce)
	for i := range receivers {
		r := &receivers[i]
		if r.outcome == refused {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-slots }()
			switch err := b.sendOne(ctx, what, *r); {
			case err == nil:
				r.outcome = stored
			case im.AsError(err).Code.Final():
				r.outcome = refused
			}
		})
	}
	running.Wait()
}

// sendOne sends one message until it is known what has become of it, or ctx ends.
func (b *broadcaster) sendOne(ctx context.Context, what *im.Broadcast, r receiver) error {
	content := &imv1.Content{}
	if err := content.UnmarshalVT(what.Content); err != nil {
		return im.Errorf(im.Invalid, "the content can not be decoded")
	}
	send, err := (&imv1.Send{ClientMsgId: im.DerivedID("broadcast", what.ID, r.name), To: r.to, Content: content}).MarshalVT()
	if err != nil {
		return im.Errorf(im.Invalid, "the message can not be encoded")
	}
	for {
		_, err := answered(b.server.Pipeline.Publish(ctx, &imv1.Publish{
			UserId: what.SenderID, DeviceId: broadcastDevice,
			What: &imv1.Publish_Vouched{Vouched: &imv1.Vouched{What: &imv1.Vouched_Send{Send: send}, ByService: true}},
		}))
		if err == nil || im.AsError(err).Code.Final() {
			return err
		}
		timer := time.NewTimer(max(broadcastPause, im.AsError(err).RetryAfter))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return im.Retry(im.Unavailable, 0, "no answer in time")
		}
	}
}
