package session_test

import (
	"testing"

	"github.com/im-transfer/im/session"
)

// mapEntries is about what a session takes in the maps of its hub and its
// partition: a key and a pointer each, in tables that are half full.
const mapEntries = 2 * 2 * 16

func TestSessionIsSmall(t *testing.T) {
	if n := session.SessionBytes + mapEntries; n > 1<<10 {
		t.Errorf("a session takes %d bytes", n)
	}
	t.Logf("a session takes %d bytes", session.SessionBytes)
}
