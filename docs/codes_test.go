package docs

import (
	"fmt"
	"testing"

	"github.com/im-transfer/im"
)

// errorCodes lists the error codes with what a client does about each.
func errorCodes(t *testing.T) string {
	advice := map[im.Code]string{
		im.Unauthenticated: "get a new token",
		im.Forbidden:       "do not retry: a member who may not",
		im.NotFound:        "do not retry: it does not exist, or not for who asks",
		im.Invalid:         "do not retry: the request is malformed or its values are",
		im.TooLarge:        "do not retry: more than is allowed",
		im.Conflict:        "do not retry: the id, name or version belongs to something else",
		im.RateLimited:     "not known whether it was done: retry with the same id after `retry_after_ms`",
		im.Unavailable:     "not known whether it was done: retry with the same id after `retry_after_ms`",
		im.Internal:        "not known whether it was done: retry with the same id after `retry_after_ms`",
		im.OutOfOrder: "not known, and not final: the message named in `after` is not stored; resend from there, or, where " +
			"that one was refused for good, name the last unacknowledged one before it, or none",
	}
	rows := make([][]string, 0, len(im.Codes))
	for _, row := range im.Codes {
		text, ok := advice[row.Code]
		if !ok {
			t.Errorf("error code %s: nobody says what to do", row.Code)
		}
		rows = append(rows, []string{"`" + string(row.Code) + "`", fmt.Sprint(row.Status), yes(row.Final), text})
	}
	return table("code | HTTP | final | what the client does", rows)
}

// disconnectCodes lists the disconnect codes with when they are given.
func disconnectCodes(t *testing.T) string {
	when := map[im.DisconnectCode]string{
		im.Replaced:                  "a newer device of the same platform took the place",
		im.Kicked:                    "an operator or a rule closed the session",
		im.TokenExpired:              "the token ended and was not renewed",
		im.Revoked:                   "the device was signed out",
		im.ProtocolError:             "malformed framing, another form, an `ack` above the head",
		im.VersionUnsupported:        "a frame version or protocol version that the server does not speak",
		im.Superseded:                "the same device has connected again",
		im.DisconnectUnauthenticated: "no `auth` first, or in time, or a refused one",
		im.Draining:                  "the server is going away",
		im.Slow:                      "no progress for 60 s while entries wait, or the inbox is no longer kept from here",
		im.Idle:                      "no frame for 2.5 heartbeats",
		im.DisconnectUnavailable:     "the server can not serve the session at the moment, or can not show the next entry of the inbox",
	}
	rows := make([][]string, 0, len(im.DisconnectCodes))
	for _, row := range im.DisconnectCodes {
		text, ok := when[row.Code]
		if !ok {
			t.Errorf("disconnect code %s: nobody says when", row.Code)
		}
		rows = append(rows, []string{
			fmt.Sprint(row.Number), "`" + string(row.Code) + "`", fmt.Sprint(4000 + row.Number), yes(row.Code.Reconnect()), text,
		})
	}
	return table("n | code | WebSocket close | reconnect | when", rows)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
