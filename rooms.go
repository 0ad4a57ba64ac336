package im

// Limits of rooms.
const (
	MaxRoomNameBytes    = 128
	MaxRoomRestrictions = 1000 // users who are muted in a room at once, and as many who are banned
)

// IsRoom reports whether a conversation is a room, by its id.
func IsRoom(conversationID string) bool {
	kind, _ := ConversationTypeOf(conversationID)
	return kind == Room
}
