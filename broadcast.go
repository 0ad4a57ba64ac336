package im

// BroadcastState says how far a broadcast is. It only rises.
type BroadcastState int

// The states of a broadcast. One that was cancelled when all was sent is done.
const (
	BroadcastRunning BroadcastState = iota
	BroadcastCancelled
	BroadcastDone
)

// String returns the name that the API gives a state.
func (s BroadcastState) String() string {
	switch s {
	case BroadcastCancelled:
		return "cancelled"
	case BroadcastDone:
		return "done"
	}
	return "running"
}

// Limits of broadcasts.
const (
	MaxBroadcastUsers     = 10_000 // named in one
	MaxRunningBroadcasts  = 100    // at once; each is read every second
	MaxBroadcastPerSecond = 10_000
	MaxBroadcastPriority  = 9
)

// Broadcast is one message from the operator to many: to all users, to a room or to users.
type Broadcast struct {
	ID          string
	All         bool
	RoomID      string   // else
	UserIDs     []string // else; ascending, each once
	SenderID    string   // who it comes from
	Content     []byte   // an encoded im.v1.Content
	PerSecond   int      // messages
	Priority    int      // the highest goes first
	CreatedAtMs int64
	BroadcastProgress
}

// BroadcastCursor is a place among the broadcasts, the newest first, exclusive; the zero value
// is before the newest.
type BroadcastCursor struct {
	CreatedAtMs int64
	ID          string
}

// BroadcastProgress is how far a broadcast is. All of it only rises.
type BroadcastProgress struct {
	State   BroadcastState
	Cursor  string // users up to here have been sent to
	Sent    int64
	Refused int64 // messages that a user or the room can not get: blocked, gone
}
