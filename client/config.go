package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// The transports.
const (
	WebSocket = "websocket"
	TCP       = "tcp"
)

// Handler is the application's side of the inbox. One goroutine makes all calls,
// never two at once. The context ends when the client is closed. Close waits for the call
// in hand, so none may call it.
type Handler interface {
	// Entry takes the next inbox entry. Seqs ascend without holes and none comes
	// twice while the local state lives, but for those handled within the last AckDelay
	// before the process was killed; a State that the application keeps with what it
	// makes of entries has those once, too. Once it returns nil the entry counts as
	// safe on this device and is acknowledged. After an error the same entry is
	// handed in again, with growing pauses of up to 5 s.
	Entry(ctx context.Context, entry *imv1.Entry) error
	// StartOver says that what follows the last entry is no longer to be had (it
	// was away for longer than the server keeps, or the server's store was
	// restored). The application rebuilds what it keeps from the conversation
	// list and history; entries go on above the given head. An error is handled
	// as in Entry.
	StartOver(ctx context.Context, over StartOver) error
	// Signal takes something that is not stored, such as "typing". Signals are
	// dropped while more than a window of entries waits for the handler.
	Signal(ctx context.Context, signal *imv1.Signal)
}

// StartOver is where the inbox goes on after a break.
type StartOver struct {
	Head       int64 // entries above it follow
	InboxEpoch string
}

// Session describes a session that has been authenticated.
type Session struct {
	ServerID      string // empty when the address was given
	Address       string // the URL dialled
	UserID        string
	SessionID     string
	Head          int64 // newest inbox seq
	ResumeFrom    int64 // entries above it follow
	TooLong       bool
	ServerVersion string
	Features      []string
}

// Disconnected says why a session, or an attempt to have one, ended.
type Disconnected struct {
	Code    im.DisconnectCode // empty when the server gave none
	Err     error             // never nil; for a Code an *EndError
	Final   bool              // the client stays away until Connect is called again
	RetryIn time.Duration     // not Final: when it tries again
}

// Hooks let an application watch. They are called by the client's own goroutines
// and must not block, nor call what waits for the client: Close, Connect, Send, Read,
// JoinRoom and the like belong on a goroutine of the application's. Any may be nil.
type Hooks struct {
	OnConnect    func(Session)
	OnDisconnect func(Disconnected)
	// OnTokens is called with every new pair of tokens. An application that wants
	// to stay logged in across restarts keeps them: the former refresh token is
	// of no use any more.
	OnTokens func(Tokens)
	// OnSent is called with the outcome of every send, also of those taken over
	// from an earlier process.
	OnSent func(clientMsgID string, ack Ack, err error)
	// OnStateError is called when the local state could not be saved. It is tried
	// again every second; until then nothing new is sent or acknowledged.
	OnStateError func(error)
}

// Config is what a Client is made from. Tokens.AccessToken, DeviceID, Platform
// and either Server or URL are required.
type Config struct {
	Server string // base URL of the HTTP API
	URL    string // connect here (ws://…, wss://…, tcp://… or tls://…) and never ask the gateway API

	Tokens   Tokens // as the log-in gave them
	DeviceID string // those that the tokens were issued for
	Platform string

	Transport string    // WebSocket (default) or TCP
	Form      wire.Form // wire.Proto (default), wire.JSON or, over WebSocket, wire.Text
	Start     string    // of a device's very first session: "oldest" (default) or "newest"
	Name      string    // of the application, told to the server; "im-go" if empty
	Version   string

	Handler Handler // nil: entries are acknowledged unseen
	State   State   // nil: nothing outlives the Client
	Hooks   Hooks
	Logger  *slog.Logger // nil: silent

	// Refresh gets new tokens; nil asks the server with the refresh token.
	Refresh    func(context.Context, Tokens) (Tokens, error)
	HTTPClient *http.Client // nil: one with a time-out of 15 s
	// Dial opens a network connection; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	TLS  *tls.Config // of wss and tls; a tcp connection is wrapped in TLS when it is not nil

	MaxUnacknowledged int           // sends accepted and not yet answered; more of them wait; default 256
	AckEvery          int           // entries handled before an ack is written at once; default 64
	AckDelay          time.Duration // and the longest that one waits; default 50 ms
	MinBackoff        time.Duration // before the first attempt to reconnect; doubles; default 500 ms
	MaxBackoff        time.Duration // default 10 s
	DialTimeout       time.Duration // for a connection, and for the answer to auth; default 15 s
}

func (c *Config) fill() {
	setDefault(&c.Transport, WebSocket)
	setDefault(&c.Form, wire.Proto)
	setDefault(&c.Name, "im-go")
	setDefault(&c.MaxUnacknowledged, 256)
	setDefault(&c.AckEvery, 64)
	setDefault(&c.AckDelay, 50*time.Millisecond)
	setDefault(&c.MinBackoff, 500*time.Millisecond)
	setDefault(&c.MaxBackoff, 10*time.Second)
	setDefault(&c.DialTimeout, 15*time.Second)
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{Timeout: 15 * time.Second}
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) check() error {
	switch {
	case c.Server == "" && c.URL == "":
		return errors.New("config: neither Server nor URL is set")
	case c.Tokens.AccessToken == "":
		return errors.New("config: Tokens.AccessToken is empty")
	case !im.ValidID(c.DeviceID):
		return errors.New("config: DeviceID must be 1 to 64 bytes")
	case !im.ValidPlatform(c.Platform):
		return fmt.Errorf("config: unknown Platform %q", c.Platform)
	case c.Transport != WebSocket && c.Transport != TCP:
		return fmt.Errorf("config: unknown Transport %q", c.Transport)
	case c.Form == wire.Text && c.Transport == TCP:
		return errors.New("config: the text form is for WebSocket")
	}
	return nil
}
