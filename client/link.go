package client

import (
	"context"
	"sync"
	"time"

	"github.com/im-transfer/im/proto/wire"
)

// link is one live session: a connection that has been authenticated.
type link struct {
	client    *Client
	conn      conn
	session   Session
	heartbeat time.Duration

	wake   chan struct{}   // 1: there may be something to write
	ctx    context.Context // ends with the session
	cancel context.CancelFunc
	once   sync.Once
	err    error // why it ended, once ctx has

	// Under Client.mu.
	sequence  int32
	control   []control       // to be written before all else
	signals   int             // among control
	calls     map[int32]*call // that wait for their reply
	joins     map[int32]*room // reads of rooms that nobody waits for
	rewatch   int32           // of the watch that nobody waits for; 0 = there is none
	beat      bool            // a heartbeat is due
	beatSince time.Time       // of the oldest heartbeat without a reply; zero = none
	flushing  chan struct{}   // not nil: to be closed once nothing is left to write
}

// control is a frame that waits to be written.
type control struct {
	op       wire.Op
	sequence int32
	body     wire.Body
}

func newLink(client *Client, conn conn, session Session, heartbeat time.Duration) *link {
	l := &link{
		client: client, conn: conn, session: session, heartbeat: heartbeat, sequence: 1,
		wake: make(chan struct{}, 1), calls: map[int32]*call{}, joins: map[int32]*room{},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// end ends the session for a reason; only the first counts.
func (l *link) end(err error) {
	l.once.Do(func() {
		l.err = err
		l.cancel()
		l.conn.close()
	})
}

// wakeUp makes the writer look; a nil link has none.
func (l *link) wakeUp() {
	if l != nil {
		signal(l.wake)
	}
}

// next returns a sequence for a request. The caller holds mu.
func (l *link) next() int32 {
	l.sequence++
	if l.sequence <= 0 {
		l.sequence = 1
	}
	return l.sequence
}

// write is the writer: it writes what there is, in batches, and waits.
func (l *link) write() {
	var b batch
	for {
		resume, flushed := l.collect(&b)
		if len(b.bytes) > 0 {
			if err := l.conn.write(b.bytes, b.ends); err != nil {
				l.waitForLastWords()
				l.end(err)
				return
			}
			continue
		}
		if flushed != nil {
			close(flushed)
		}
		if !l.waitForWork(resume) {
			return
		}
	}
}

// lastWords is how long the reader has, when nothing can be written any more, to find why.
const lastWords = time.Second

func (l *link) waitForLastWords() {
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ctx.Done():
	}
}

func (l *link) waitForWork(resume time.Time) bool {
	var timer <-chan time.Time
	if !resume.IsZero() {
		t := time.NewTimer(time.Until(resume))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-l.wake:
	case <-timer:
	case <-l.ctx.Done():
		return false
	}
	return true
}

// flush waits until the writer has nothing left or the session has ended; a nil
// link has nothing.
func (l *link) flush() {
	if l == nil {
		return
	}
	flushed := make(chan struct{})
	l.client.mu.Lock()
	l.flushing = flushed
	l.client.mu.Unlock()
	l.wakeUp()
	select {
	case <-flushed:
	case <-l.ctx.Done():
	}
}
