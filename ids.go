package im

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/fnv"
	"strconv"
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// DirectConversation returns the id of the direct conversation of two users, in
// either order; of a user with themselves, the self-chat.
func DirectConversation(a, b string) string {
	if a > b {
		a, b = b, a
	}
	return conversationID('d', string(Direct), a, b)
}

// GroupConversation returns the id of a group's conversation.
func GroupConversation(groupID string) string { return conversationID('g', string(Group), groupID) }

// RoomConversation returns the id of a room's conversation.
func RoomConversation(roomID string) string { return conversationID('r', string(Room), roomID) }

// conversationID is the prefix and 26 base32 characters (130 bits) of SHA-256
// over the type and the keys, each preceded by its length as a byte.
func conversationID(prefix byte, parts ...string) string {
	var buffer [256]byte
	data := buffer[:0]
	for _, part := range parts {
		data = append(data, byte(len(part))) //nolint:gosec // ids are at most 64 bytes
		data = append(data, part...)
	}
	sum := sha256.Sum256(data)
	var text [52]byte
	base32Lower.Encode(text[:], sum[:])
	var id [27]byte
	id[0] = prefix
	copy(id[1:], text[:26])
	return string(id[:])
}

// ConversationTypeOf tells a conversation's type from its id; false when it is no
// conversation id.
func ConversationTypeOf(id string) (ConversationType, bool) {
	if len(id) != 27 {
		return "", false
	}
	for _, c := range []byte(id[1:]) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return "", false
		}
	}
	switch id[0] {
	case 'd':
		return Direct, true
	case 'g':
		return Group, true
	case 'r':
		return Room, true
	}
	return "", false
}

// Partition returns the partition of a key (a conversation id, a user id) among
// n. It is FNV-1a 64 with a final mix; it must never change, for it says where a
// conversation's order is made.
func Partition(key string, n int) int {
	h := fnv.New64a()
	h.Write([]byte(key))
	x := h.Sum64()
	x ^= x >> 32
	return int(x % uint64(n)) //nolint:gosec // n is a small positive number
}

// NewID returns a new random id of 26 base32 characters (130 bits), for users,
// servers and the like.
func NewID() string {
	var random [20]byte
	rand.Read(random[:])
	return base32Lower.EncodeToString(random[:])[:26]
}

// EventIDOf returns the inbox event id of a conversation event.
func EventIDOf(id int64) EventID {
	var e EventID
	binary.BigEndian.PutUint64(e[8:], uint64(id)) //nolint:gosec // a bit pattern
	return e
}

// DerivedEventID returns the inbox event id of something that has no event of its
// own, from what identifies it. Its first byte is never 0, so that it can not
// meet EventIDOf.
func DerivedEventID(parts ...string) EventID {
	var e EventID
	sum := digest(parts)
	copy(e[:], sum[:])
	e[0] |= 0x80
	return e
}

// digest is SHA-256 over parts, each preceded by its length.
func digest(parts []string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, part := range parts {
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(part))) //nolint:gosec // short
		h.Write(length[:])
		h.Write([]byte(part))
	}
	h.Sum(sum[:0])
	return sum
}

// ID names an item by what it is and where it came from, so that the same item,
// which a queue may give twice, is one. It is positive.
func (q *Quarantined) ID() int64 {
	h := sha256.New()
	h.Write(strconv.AppendInt([]byte(q.Topic+"."), int64(q.Partition), 10))
	h.Write([]byte{'\n'})
	h.Write(q.Body)
	return int64(binary.BigEndian.Uint64(h.Sum(nil)) >> 1)
}

// DerivedID returns an id of 26 base32 characters that is made of what identifies a
// thing, so that the same request, made again, means the same thing.
func DerivedID(parts ...string) string {
	sum := digest(parts)
	return base32Lower.EncodeToString(sum[:])[:26]
}
