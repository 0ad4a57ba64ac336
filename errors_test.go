package im_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// The protocol's table: clients depend on each line.
func TestCodes(t *testing.T) {
	want := map[im.Code]struct {
		status int
		final  bool
	}{
		"unauthenticated": {401, true}, "forbidden": {403, true}, "not_found": {404, true},
		"invalid": {400, true}, "too_large": {413, true}, "conflict": {409, true},
		"rate_limited": {429, false}, "unavailable": {503, false}, "internal": {500, false},
		"out_of_order": {409, false},
	}
	if len(im.Codes) != len(want) {
		t.Errorf("%d codes, want %d", len(im.Codes), len(want))
	}
	for code, row := range want {
		if code.Status() != row.status || code.Final() != row.final {
			t.Errorf("%s: status %d, final %v", code, code.Status(), code.Final())
		}
	}
	if unknown := im.Code("nothing"); unknown.Status() != 500 || unknown.Final() {
		t.Error("an unknown code must be a 500 and not final")
	}
}

func TestDisconnectCodes(t *testing.T) {
	want := map[im.DisconnectCode]int{
		"replaced": 1, "kicked": 2, "token_expired": 3, "revoked": 4, "protocol_error": 5, "version": 6,
		"superseded": 7, "unauthenticated": 8, "draining": 11, "slow": 12, "idle": 13, "unavailable": 14,
	}
	if len(im.DisconnectCodes) != len(want) {
		t.Errorf("%d codes, want %d", len(im.DisconnectCodes), len(want))
	}
	for _, row := range im.DisconnectCodes {
		if want[row.Code] != row.Number {
			t.Errorf("%s is %d, want %d", row.Code, row.Number, want[row.Code])
		}
	}
}

func TestAsErrorFindsTheAnswerInAChain(t *testing.T) {
	answer := im.Retry(im.RateLimited, 3*time.Second, "too many")
	got := im.AsError(fmt.Errorf("send: %w", fmt.Errorf("accept: %w", answer)))
	if got != answer || got.RetryAfter != 3*time.Second {
		t.Errorf("got %+v", got)
	}
	if got.Error() != "rate_limited: too many" {
		t.Errorf("it reads %q", got)
	}
	if got := im.Errorf(im.Invalid, "%d bytes", 7); got.Message != "7 bytes" || got.RetryAfter != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestAsErrorGivesNothingAway(t *testing.T) {
	got := im.AsError(fmt.Errorf("insert into secret_table: %w", errors.New("password=x")))
	if got.Code != im.Internal || got.RetryAfter <= 0 || strings.Contains(got.Error(), "secret") || strings.Contains(got.Error(), "x") {
		t.Errorf("got %v", got)
	}
}
