package im

import (
	"strings"
	"testing"
)

func TestWhatIsAnEmoji(t *testing.T) {
	for _, s := range []string{
		"👍", "👍🏽", "❤️", "❤", "😂", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "1️⃣", "#⃣", "‼️", "ℹ️", "™️", "➕", "↔️", "👩🏻‍❤️‍💋‍👩🏼",
	} {
		if !ValidEmoji(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{
		"", "a", "1", "#", "👍👍", "👍 ", " 👍", "👍a", "ok", ":+1:", "\xff", "👍\x00", "\u200d", "👍\u200d", "\ufe0f", "🇩", "🇩🇪🇫",
		"中", "<b>", "1⃣1⃣", "a⃣", strings.Repeat("👍\u200d", 12) + "👍",
	} {
		if ValidEmoji(s) {
			t.Errorf("%q is taken", s)
		}
	}
}
