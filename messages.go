package im

import (
	"unicode"
	"unicode/utf8"
)

// Limits of messages.
const (
	MaxMentions      = 100 // of one message
	MaxReactionKinds = 20  // different emoji of one message
	MaxReactions     = 5000
	MaxEmojiBytes    = 64
)

// MentionAll mentions every member.
const MentionAll = "all"

// MessageRef names a message by its id. The conversation is a hint that spares a store
// of many machines a question to all of them; empty = not known.
type MessageRef struct {
	ConversationID string
	ID             int64
}

// MessageRefs names messages of conversations that are not known.
func MessageRefs(ids ...int64) []MessageRef {
	refs := make([]MessageRef, len(ids))
	for i, id := range ids {
		refs[i].ID = id
	}
	return refs
}

// Ref names an event that is a message.
func (e *Event) Ref() MessageRef { return MessageRef{e.ConversationID, e.ID} }

// MessageState is what a message has become since it was sent: the projection of the
// recalls, edits and reactions that have it as their target.
type MessageState struct {
	ConversationID string
	MessageID      int64
	MessageSeq     int64  // where the message is
	SenderID       string // whose it is
	Seq            int64  // the conversation seq that this row reflects
	Version        int32  // 1 = as it was sent
	EditedAtMs     int64  // 0 = never
	Recalled       bool
	Uncounted      bool   // it counted as unread, and does no longer
	ExpiresAtMs    int64  // as the message's
	Body           []byte // its newest content with its attributes; nil = as it was sent, or recalled
	Reactions      []byte // an encoded im.v1.MessageReactions; nil = none
}

// Ref names the message.
func (s *MessageState) Ref() MessageRef { return MessageRef{s.ConversationID, s.MessageID} }

// StateOf is the state of a message that nothing has changed.
func StateOf(message *Event) MessageState {
	return MessageState{
		ConversationID: message.ConversationID, MessageID: message.ID, MessageSeq: message.Seq, SenderID: message.SenderID,
		Version: 1, ExpiresAtMs: message.ExpiresAtMs,
	}
}

// Expired reports whether a message is not shown any longer.
func (e *Event) Expired(nowMs int64) bool { return e.ExpiresAtMs != 0 && e.ExpiresAtMs <= nowMs }

// ValidEmoji reports whether s can be a reaction: one emoji, of any number of code points
// that make one: with a skin tone, joined, a flag or a keycap. Whether a font has it is
// not asked.
func ValidEmoji(s string) bool {
	if s == "" || len(s) > MaxEmojiBytes || !utf8.ValidString(s) {
		return false
	}
	pictures, joined, flags := 0, true, 0
	for i, r := range s {
		switch {
		case regional(r):
			if flags++; flags > 2 || pictures > 0 {
				return false
			}
		case modifier(r):
			if i == 0 {
				return false
			}
			joined = r == joiner
		case picture(r), keycap(r) && i == 0 && keycapped(s):
			if !joined {
				return false
			}
			pictures, joined = pictures+1, false
		default:
			return false
		}
	}
	return flags == 2 && pictures == 0 || flags == 0 && pictures > 0 && !endsJoined(s)
}

// joiner makes one emoji of two.
const joiner = '\u200d'

func endsJoined(s string) bool {
	last, _ := utf8.DecodeLastRuneInString(s)
	return last == joiner
}

// regional are the letters of which two are a flag.
func regional(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

// modifier are the code points that stand behind a picture: the joiner, the forms, the
// skin tones, the tags of the flags of regions, and the cap of a key.
func modifier(r rune) bool {
	return r == joiner || r == '\ufe0f' || r == '\ufe0e' || r == '\u20e3' ||
		r >= 0x1f3fb && r <= 0x1f3ff || r >= 0xe0020 && r <= 0xe007f
}

// picture are the code points that are shown by themselves.
func picture(r rune) bool {
	if r < 0x80 {
		return false
	}
	switch r {
	case 0x203c, 0x2049, 0x2139, 0x3030, 0x303d: // punctuation and a letter that are emoji
		return true
	}
	return r >= 0x1f000 && r <= 0x1faff || unicode.In(r, unicode.So, unicode.Sm)
}

func keycap(r rune) bool { return r >= '0' && r <= '9' || r == '#' || r == '*' }

func keycapped(s string) bool {
	last, _ := utf8.DecodeLastRuneInString(s)
	return last == '\u20e3'
}
