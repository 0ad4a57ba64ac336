package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// batchBytes is about the most that one message to a transfer holds.
	batchBytes = 256 << 10
	// creditPublishes and creditBytes bound what is unanswered over one stream. When
	// the credit is used up, what each session sends goes out one by one as others'
	// answers come, and the pipeline has no bursts left to make batches of; so it is
	// more than thousands of sessions with full windows need.
	creditPublishes = 131072
	creditBytes     = 64 << 20
	// sendPatience is how long a transfer may refuse to take a message before the
	// stream is given up.
	sendPatience = 15 * time.Second
)

// batch is a message to a transfer being filled.
type batch struct {
	imv1.ToTransfer
	id    uint64 // unique in the link
	bytes int    // about
}

// stream is one open stream to a transfer. mu guards what waits to be sent.
type stream struct {
	peer   *peer
	client imv1.TransferClient
	rpc    grpc.BidiStreamingClient[imv1.ToTransfer, imv1.ToGateway]
	room   gate          // opens when there is credit again
	owed   atomic.Int64  // publishes unanswered
	weight atomic.Int64  // and their bytes
	silent atomic.Int64  // until then it is asked last, Unix nanoseconds
	ready  chan struct{} // something waits, or the stream has broken

	mu      sync.Mutex
	queue   []*batch // the last one is being filled
	waiting int      // bytes in queue
	broken  bool
	beats   [2][]*Session // who asked for a head: lately, and before that
	movers  [2][]*Session // who has been written something, likewise

	touched []*Session // the receiver's: who has something to flush
}

func newStream(p *peer, client imv1.TransferClient, rpc grpc.BidiStreamingClient[imv1.ToTransfer, imv1.ToGateway]) *stream {
	return &stream{peer: p, client: client, rpc: rpc, ready: make(chan struct{}, 1)}
}

// serve sends and receives until the stream breaks; cancel breaks it.
func (st *stream) serve(cancel context.CancelFunc) {
	st.peer.link.up(st)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		defer cancel()
		st.send(cancel)
	}()
	err := st.receive()
	cancel()
	st.end()
	<-sent
	st.peer.link.broke(st, err)
}

// end refuses whatever comes now.
func (st *stream) end() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.broken, st.queue = true, nil
	st.notify()
}

func (st *stream) isBroken() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.broken
}

// notify wakes the sender.
func (st *stream) notify() {
	select {
	case st.ready <- struct{}{}:
	default:
	}
}

// send packs all that is ready into one message at a time.
func (st *stream) send(cancel context.CancelFunc) {
	watchdog := time.AfterFunc(sendPatience, cancel)
	watchdog.Stop() // it runs only while something is being sent
	defer watchdog.Stop()
	for range st.ready {
		for b := st.next(); b != nil; b = st.next() {
			watchdog.Reset(sendPatience)
			if err := st.rpc.Send(&b.ToTransfer); err != nil {
				return // Recv has the reason
			}
		}
		watchdog.Stop()
		if st.isBroken() {
			return
		}
	}
}

// next takes the oldest batch; nil when nothing waits.
func (st *stream) next() *batch {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.queue) == 0 {
		return nil
	}
	b := st.queue[0]
	st.queue = st.queue[1:]
	st.waiting -= b.bytes
	return b
}

// tail returns the batch being filled; nil when the stream has broken. The caller
// holds mu.
func (st *stream) tail(bytes int) *batch {
	if st.broken {
		return nil
	}
	n := len(st.queue)
	if n == 0 || st.queue[n-1].bytes+bytes > batchBytes {
		st.begin()
		n = len(st.queue)
	}
	b := st.queue[n-1]
	b.bytes += bytes
	st.waiting += bytes
	st.notify()
	return b
}

// begin begins a new batch.
func (st *stream) begin() {
	st.queue = append(st.queue, &batch{id: st.peer.link.batches.Add(1)})
}
