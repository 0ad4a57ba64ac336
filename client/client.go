package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// ErrClosed is what a closed Client answers. Sends that it leaves unanswered may
// or may not have been done; with a State they go out again from the next Client.
var ErrClosed = errors.New("client is closed")

// ErrEnded is why there is no answer: the client stays away (see Disconnected.Final) until
// Connect is called again. What it was asked to send is still on its way.
var ErrEnded = errors.New("client has ended")

// maxSignals bounds the signals that wait to be written.
const maxSignals = 64

// Client is one device of one user. All methods are safe for concurrent use.
type Client struct {
	config  Config
	backoff backoff  // of run
	failed  failures // of run

	ctx       context.Context // of all goroutines but the handler; ends at Close
	cancel    context.CancelFunc
	handling  context.Context // of the handler
	stop      context.CancelFunc
	handlers  sync.WaitGroup // the handler
	keepers   sync.WaitGroup // the keeper
	runs      sync.WaitGroup // run
	entries   chan struct{}  // 1: the queue has something
	keepNow   chan struct{}  // 1: save at once
	keepSoon  chan struct{}  // 1: save within AckDelay
	keepFinal chan struct{}  // closed: save once more and end

	mu         sync.Mutex
	out        *outbox
	in         *inbox
	rooms      map[string]*room // that it is in, by room id
	former     map[string]bool  // rooms' conversations that an earlier process has sent to, and that are not joined yet
	tokens     Tokens
	link       *link         // the live session; nil = none
	running    bool          // run lives
	started    bool          // handler and keeper live
	closed     bool          // Close was called
	unsaved    error         // why the last save failed; nil = it did not
	gone       bool          // Close has returned: nothing is saved any more
	unsure     bool          // whether the last refresh was done is not known
	refreshing chan struct{} // closed at the end of a refresh; nil = there is none
	ended      error         // why run ended; nil while it lives
	watched    *imv1.Watch   // what every session is to watch; nil = nobody
	changed    chan struct{} // closed and replaced at every change that someone may wait for
	room       chan struct{} // 1: a send has left the outbox; who takes it passes it on
}

// New makes a client and loads its local state. It starts nothing.
func New(config Config) (*Client, error) {
	config.fill()
	if err := config.check(); err != nil {
		return nil, err
	}
	var snapshot Snapshot
	if config.State != nil {
		var err error
		if snapshot, err = config.State.Load(context.Background()); err != nil {
			return nil, fmt.Errorf("load state: %w", err)
		}
	}
	if known := config.Tokens.UserID; known != "" && snapshot.UserID != "" && known != snapshot.UserID {
		return nil, fmt.Errorf("config: the state belongs to user %s, the tokens to %s", snapshot.UserID, known)
	}
	if config.Tokens.UserID == "" {
		config.Tokens.UserID = snapshot.UserID
	}
	return newClient(config, snapshot), nil
}

func newClient(config Config, snapshot Snapshot) *Client {
	c := &Client{
		config: config, tokens: config.Tokens, backoff: backoff{least: config.MinBackoff, most: config.MaxBackoff},
		in: newInbox(snapshot), rooms: map[string]*room{}, former: map[string]bool{}, changed: make(chan struct{}), room: make(chan struct{}, 1), failed: failures{},
		entries: make(chan struct{}, 1), keepNow: make(chan struct{}, 1), keepSoon: make(chan struct{}, 1),
		keepFinal: make(chan struct{}),
	}
	c.out = newOutbox(c)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.handling, c.stop = context.WithCancel(c.ctx)
	for _, send := range snapshot.Sends {
		c.out.add(send, true)
		if key := conversationOf("", send.GetTo()); im.IsRoom(key) {
			c.former[key] = true
		}
	}
	return c
}

// Connect starts the client, or starts it again after it ended, and waits for a
// session. It returns nil once there is one, or why the client stays away (see
// Disconnected.Final). When the context ends first, its error is returned and
// the client goes on trying until Close.
func (c *Client) Connect(ctx context.Context) error {
	if err := c.start(); err != nil {
		return err
	}
	_, err := c.session(ctx)
	return err
}

func (c *Client) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if !c.started {
		c.started = true
		c.handlers.Go(c.handle)
		c.keepers.Go(c.keep)
	}
	if !c.running {
		c.running, c.ended = true, nil
		c.runs.Go(c.run)
	}
	return nil
}

// session waits for a live session.
func (c *Client) session(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		link, changed, err := c.link, c.changed, c.over()
		c.mu.Unlock()
		if err != nil || link != nil {
			return link, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a session: %w", ctx.Err())
		}
	}
}

// over tells why there is no use in waiting. The caller holds mu.
func (c *Client) over() error {
	if c.closed {
		return ErrClosed
	}
	return c.ended
}

// broadcast wakes all who wait for a change. The caller holds mu.
func (c *Client) broadcast() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Tokens returns the tokens in force.
func (c *Client) Tokens() Tokens {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tokens
}

// SetTokens replaces the tokens, for the next session. They must be of the same
// user and device.
func (c *Client) SetTokens(tokens Tokens) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tokens.UserID == "" {
		tokens.UserID = c.tokens.UserID
	}
	c.tokens = tokens
}

// API returns the HTTP API with this client's token in force.
func (c *Client) API() *API {
	return NewAPI(c.config.Server, c.config.HTTPClient).withTokens(func() string { return c.Tokens().AccessToken })
}

// LastSeq returns the newest inbox seq that the application has handled; false on
// a device that has never had a session.
func (c *Client) LastSeq() (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.handled.seq, c.in.handled.known
}

// signal wakes who waits on a channel of one.
func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
