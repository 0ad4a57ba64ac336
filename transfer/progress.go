package transfer

import (
	"context"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// progressEvery is how long rows of progress gather before they are written. They
	// serve people who ask what became of a message, and nothing else rests on them: what
	// has gathered when a process dies is missing, and so is what does not fit.
	progressEvery = 5 * time.Second
	// progressSoon is the same when a device has gone.
	progressSoon = 500 * time.Millisecond
	// maxProgress bounds what gathers, rows and devices each.
	maxProgress = 32768
)

// progress is how far the devices of a partition have come: for each that moves a row
// for the second at hand, and those of seconds that are over.
type progress struct {
	now    map[cursorKey]im.Progress
	rows   []im.Progress
	at     <-chan time.Time
	soon   bool
	stored chan struct{} // 1: a write is over
	busy   bool
}

func newProgress() progress {
	return progress{now: map[cursorKey]im.Progress{}, stored: make(chan struct{}, 1)}
}

// moved notes that a device has been written, and has acknowledged, so much.
func (b *inbox) moved(key cursorKey, written, acked int64) {
	p, now := &b.progress, b.server.now()
	row, there := p.now[key]
	switch {
	case !there && len(p.now) >= maxProgress:
		return
	case !there:
		row = im.Progress{UserID: key.userID, DeviceID: key.deviceID}
	case row.AtMs/1000 != now.UnixMilli()/1000 && len(p.rows) < maxProgress:
		p.rows = append(p.rows, row)
	}
	row.AtMs, row.Acked = now.UnixMilli(), max(row.Acked, acked)
	row.Written = max(row.Written, written, row.Acked)
	p.now[key] = row
	if p.at == nil {
		p.at = time.After(progressEvery)
	}
}

func (b *inbox) written(w *imv1.Written) {
	b.moved(cursorKey{w.UserId, w.DeviceId}, w.Seq, 0)
}

// hurry has progress written soon: a device has gone, and what it did may be asked for.
func (p *progress) hurry() {
	if len(p.now) > 0 && !p.soon {
		p.soon, p.at = true, time.After(progressSoon)
	}
}

// keepProgress writes what has gathered, beside the partition's goroutine, one lot at a
// time.
func (b *inbox) keepProgress() {
	p := &b.progress
	p.at, p.soon = nil, false
	if p.busy {
		p.at = time.After(progressSoon)
		return
	}
	rows := p.take()
	if len(rows) == 0 {
		return
	}
	p.busy = true
	b.server.goRun(func() {
		b.storeProgress(rows)
		p.stored <- struct{}{}
	})
}

func (p *progress) take() []im.Progress {
	rows := p.rows
	for _, row := range p.now {
		rows = append(rows, row)
	}
	clear(p.now)
	p.rows = nil
	return rows
}

func (b *inbox) storeProgress(rows []im.Progress) {
	if len(rows) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	if err := b.store.AddProgress(ctx, rows); err != nil {
		b.server.complain(b.log, "keep how far devices have come", "error", err)
	}
}
