package http

import (
	"context"
	"sync"
	"sync/atomic"
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

// send sends the next part of a broadcast, and then raises its progress: whoever dies in
// between has the part sent again, as repeats.
func (b *broadcaster) send(ctx context.Context, id string) error {
	whole, err := b.server.Broadcasts.Broadcast(ctx, id)
	if err != nil || whole.State != im.BroadcastRunning {
		return wrap("read a broadcast", err)
	}
	what := &whole
	receivers, next, last, err := b.part(ctx, what)
	if err != nil {
		return err
	}
	sent, refused, err := b.sendTo(ctx, what, receivers)
	if err != nil {
		return err
	}
	progress := im.BroadcastProgress{Cursor: next, Sent: what.Sent + sent, Refused: what.Refused + refused}
	if last {
		progress.State = im.BroadcastDone
	}
	return wrap("raise a broadcast's progress", b.server.Broadcasts.RaiseBroadcast(ctx, what.ID, progress))
}

// receiver is one message of a broadcast: whom it is for, and the name of that in its id.
type receiver struct {
	to   *imv1.To
	name string
}

// part returns whom the next part goes to, the cursor behind it, and whether it is the last.
func (b *broadcaster) part(ctx context.Context, what *im.Broadcast) (receivers []receiver, next string, last bool, err error) {
	if what.RoomID != "" {
		return []receiver{{&imv1.To{To: &imv1.To_RoomId{RoomId: what.RoomID}}, what.RoomID}}, what.RoomID, true, nil
	}
	var users []string
	if what.All {
		if users, err = b.server.Broadcasts.UsersAfter(ctx, what.Cursor, what.PerSecond); err != nil {
			return nil, "", false, wrap("walk users", err)
		}
	} else {
		for _, id := range what.UserIDs {
			if id > what.Cursor && len(users) < what.PerSecond {
				users = append(users, id)
			}
		}
	}
	next, last = what.Cursor, len(users) < what.PerSecond
	for _, id := range users {
		next = id
		if id != what.SenderID {
			receivers = append(receivers, receiver{&imv1.To{To: &imv1.To_UserId{UserId: id}}, id})
		}
	}
	return receivers, next, last, nil
}

// sendTo sends to all receivers, several at once, until each has an answer that is final.
func (b *broadcaster) sendTo(ctx context.Context, what *im.Broadcast, receivers []receiver) (sent, refused int64, err error) {
	var stored, final atomic.Int64
	var running sync.WaitGroup
	slots := make(chan struct{}, broadcastAtOnce)
	for _, r := range receivers {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			switch err := b.sendOne(ctx, what, r); {
			case err == nil:
				stored.Add(1)
			case im.AsError(err).Code.Final():
				final.Add(1)
			}
		})
	}
	running.Wait()
	if stored.Load()+final.Load() < int64(len(receivers)) {
		return 0, 0, im.Retry(im.Unavailable, 0, "a part of the broadcast may not be stored")
	}
	return stored.Load(), final.Load(), nil
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
