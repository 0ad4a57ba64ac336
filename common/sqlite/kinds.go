package sqlite

import (
	"fmt"

	"github.com/im-transfer/im"
)

// kinds are what the stored numbers stand for; their places must never change.
var kinds = [...]im.Kind{
	1: im.KindMessage, 2: im.KindRecall, 3: im.KindEdit, 4: im.KindReaction, 5: im.KindMembership,
	6: im.KindReceipt, 7: im.KindDeleted, 8: im.KindConversation, 9: im.KindContact, 10: im.KindProfile,
}

// kindNumber returns the stored number of a kind.
func kindNumber(kind im.Kind) (byte, error) {
	for i := 1; i < len(kinds); i++ {
		if kinds[i] == kind {
			return byte(i), nil
		}
	}
	return 0, fmt.Errorf("kind %q has no number", kind)
}

// kindOf is the inverse of kindNumber; empty for a number of a later version.
func kindOf(number int64) im.Kind {
	if number < 0 || number >= int64(len(kinds)) {
		return ""
	}
	return kinds[number]
}
