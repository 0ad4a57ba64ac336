package im

import (
	"errors"
	"fmt"
	"time"
)

// Code is an error code of the client protocol.
type Code string

// The error codes. Final ones mean that nothing was done and a retry is useless;
// the others leave it open: retry with the same id.
const (
	Unauthenticated Code = "unauthenticated"
	Forbidden       Code = "forbidden"
	NotFound        Code = "not_found"
	Invalid         Code = "invalid"
	TooLarge        Code = "too_large"
	Conflict        Code = "conflict"
	RateLimited     Code = "rate_limited"
	Unavailable     Code = "unavailable"
	Internal        Code = "internal"
	OutOfOrder      Code = "out_of_order"
)

// Codes lists every error code in the protocol's order with its HTTP status and
// whether it is final.
var Codes = []struct {
	Code   Code
	Status int
	Final  bool
}{
	{Unauthenticated, 401, true},
	{Forbidden, 403, true},
	{NotFound, 404, true},
	{Invalid, 400, true},
	{TooLarge, 413, true},
	{Conflict, 409, true},
	{RateLimited, 429, false},
	{Unavailable, 503, false},
	{Internal, 500, false},
	{OutOfOrder, 409, false},
}

// Status returns the HTTP status of a code, 500 for one that is not known.
func (c Code) Status() int {
	for _, row := range Codes {
		if row.Code == c {
			return row.Status
		}
	}
	return 500
}

// Final reports whether a code means: not done, do not retry.
func (c Code) Final() bool {
	for _, row := range Codes {
		if row.Code == c {
			return row.Final
		}
	}
	return false
}

// Error is an answer that a user may see: a code, a sentence, and for codes that
// are not final when to try again.
type Error struct {
	Code       Code
	Message    string
	RetryAfter time.Duration
}

// Error returns the code and the message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf makes an Error with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Retry makes an Error that asks to be tried again after a time.
func Retry(code Code, after time.Duration, message string) *Error {
	return &Error{Code: code, Message: message, RetryAfter: after}
}

// AsError returns the Error in err's chain. Any other error becomes Internal
// with a message that gives nothing away.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: Internal, Message: "internal error", RetryAfter: time.Second}
}

// What a store answers to a write, besides nil. Any other error means that it
// could not be written now (the store is away, the disk is full) and nothing of
// it was.
var (
	// ErrDuplicate: a unique index refused a row. Rows before it in order may be
	// in, rows after it are not. Read back.
	ErrDuplicate = errors.New("duplicate key")
	// ErrUnknown: the outcome is not known; any prefix may be in. Send exactly
	// the same rows again.
	ErrUnknown = errors.New("outcome unknown")
	// ErrNotFound: there is no such row.
	ErrNotFound = errors.New("not found")
)

// DisconnectCode says why a server ends a connection.
type DisconnectCode string

// The disconnect codes. Numbers 1 to 10 end: the client stays away until
// something changes. 11 to 20 ask it to reconnect.
const (
	Replaced                  DisconnectCode = "replaced"
	Kicked                    DisconnectCode = "kicked"
	TokenExpired              DisconnectCode = "token_expired"
	Revoked                   DisconnectCode = "revoked"
	ProtocolError             DisconnectCode = "protocol_error"
	VersionUnsupported        DisconnectCode = "version"
	Superseded                DisconnectCode = "superseded"
	DisconnectUnauthenticated DisconnectCode = "unauthenticated"
	Draining                  DisconnectCode = "draining"
	Slow                      DisconnectCode = "slow"
	Idle                      DisconnectCode = "idle"
	DisconnectUnavailable     DisconnectCode = "unavailable"
)

// DisconnectCodes lists every disconnect code with its number n; a WebSocket is
// closed with 4000 + n.
var DisconnectCodes = []struct {
	Code   DisconnectCode
	Number int
}{
	{Replaced, 1}, {Kicked, 2}, {TokenExpired, 3}, {Revoked, 4}, {ProtocolError, 5},
	{VersionUnsupported, 6}, {Superseded, 7}, {DisconnectUnauthenticated, 8},
	{Draining, 11}, {Slow, 12}, {Idle, 13}, {DisconnectUnavailable, 14},
}

// Number returns the code's number n, 0 for one that is not known.
func (c DisconnectCode) Number() int {
	for _, row := range DisconnectCodes {
		if row.Code == c {
			return row.Number
		}
	}
	return 0
}

// Reconnect reports whether the client should come back.
func (c DisconnectCode) Reconnect() bool { return c.Number() > 10 }
