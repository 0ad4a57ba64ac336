// Package session is what a connected device is, on either transport: login,
// heartbeat, the window over its inbox, repair of gaps, requests and their
// answers, and the link to the transfer servers that all sessions of a process
// share.
//
// Who runs what:
//
//   - Every connection has one goroutine of its own, the reader (Hub.Serve). It
//     only waits for messages, on a stack that stays small.
//   - A crew of warm goroutines handles what was read while the reader waits,
//     writes what is pending, and pulls pages; an idle session uses none.
//   - A Link has a goroutine for the list of transfers and two per stream. The
//     receiving one hands pushes and replies to the sessions and never waits.
//
// Locks, outermost first: publisher.mu (a session's, a call's), partition.mu or
// Link.mu, stream.mu.
package session

import (
	"net"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
)

// Conn is a connection as a transport gives it: the one place where TCP and
// WebSocket differ. Read is called by one goroutine at a time, the others by any.
type Conn interface {
	// Read waits for the next message: on WebSocket a whole one, on TCP one
	// frame. data is valid until the next Read. wire.ErrFraming and
	// wire.ErrVersion ask for a disconnect; any other error means that the
	// connection has ended or its read deadline has passed. After the latter Read
	// may be called again, and goes on where it was.
	Read() (data []byte, text bool, err error)
	// Seal puts the transport's own framing around the message batch[start:].
	Seal(batch []byte, start int, text bool) []byte
	// Goodbye appends the transport's own end of a connection, if it has one.
	Goodbye(batch []byte, code im.DisconnectCode) []byte
	// FirstForm is what the server speaks before the first frame.
	FirstForm() wire.Form
	// OnControl is called once, before Read. The transport passes to answer what
	// it has to write by itself (a pong), sealed; answer keeps nothing of it.
	OnControl(answer func(sealed []byte))
	// NetConn is what batches are written to, a whole one with each Write.
	NetConn() net.Conn
}
