package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// EndError is a disconnect: the server's reason for ending a session.
type EndError struct {
	Code       im.DisconnectCode // may be one that this client does not know
	Reason     string
	RetryAfter time.Duration
	Address    string // where to reconnect to; empty = ask the gateway API

	reconnect bool
}

// Error returns the code and the reason.
func (e *EndError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("disconnected: %s", e.Code)
	}
	return fmt.Sprintf("disconnected: %s: %s", e.Code, e.Reason)
}

// Reconnect reports whether the client comes back by itself. For a code that it
// does not know the server's word counts.
func (e *EndError) Reconnect() bool {
	if e.Code.Number() != 0 {
		return e.Code.Reconnect()
	}
	return e.reconnect
}

func endOf(body *imv1.Disconnect) *EndError {
	return &EndError{
		Code: im.DisconnectCode(body.GetCode()), Reason: body.GetReason(), Address: body.GetAddress(),
		RetryAfter: retryAfter(int64(body.GetRetryAfterMs())), reconnect: body.GetReconnect(),
	}
}

// verdict is what an error means for the next attempt.
type verdict struct {
	final    bool
	newToken bool // only a new token can help
	failed   bool // the server is to be left out for a while
	after    time.Duration
	address  string
}

// judge tells what to do about the end of a session or of an attempt at one.
func judge(err error) verdict {
	var end *EndError
	if errors.As(err, &end) {
		return judgeEnd(end)
	}
	var refusal *im.Error
	if errors.As(err, &refusal) {
		return verdict{
			final: refusal.Code.Final(), newToken: refusal.Code == im.Unauthenticated, after: refusal.RetryAfter + jitter(refusal.RetryAfter)/4,
			failed: refusal.Code == im.Unavailable || refusal.Code == im.Internal,
		}
	}
	return verdict{failed: !errors.Is(err, errStartOver)}
}

func judgeEnd(end *EndError) verdict {
	if !end.Reconnect() {
		return verdict{
			final: true, newToken: end.Code == im.TokenExpired || end.Code == im.DisconnectUnauthenticated,
		}
	}
	return verdict{
		after: jitter(end.RetryAfter), address: end.Address,
		failed: end.Code == im.Draining || end.Code == im.DisconnectUnavailable,
	}
}
