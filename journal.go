package im

// Connection is a line of the journal: a device's connection, from its log-in on.
type Connection struct {
	UserID      string
	SessionID   string // as auth_reply tells it; unique
	DeviceID    string
	Platform    string
	Transport   string // websocket or tcp
	Remote      string // host and port of the other side
	Client      string // what the client says it is
	UserAgent   string
	OnlineAtMs  int64
	OfflineAtMs int64  // 0 = it has not ended, or nobody has said so
	Reason      string // why it ended: a disconnect code, or EndLeft or EndLost
}

// Why a connection ended, beside the disconnect codes.
const (
	EndLeft = "left" // the client closed it
	EndLost = "lost" // it broke, or its server died
)

// ConnectionQuery asks for connections of a user, the newest first.
type ConnectionQuery struct {
	UserID   string
	DeviceID string // empty = of all devices
	Before   ConnectionCursor
	Limit    int
}

// ConnectionCursor is a place in a user's journal, exclusive; the zero value is its end.
type ConnectionCursor struct {
	OnlineAtMs int64
	SessionID  string
}

// MaxWatched bounds the users whose presence one session is told.
const MaxWatched = 200

// Progress is how far a device had come by a time: a row for each second in which it
// moved.
type Progress struct {
	UserID   string
	DeviceID string
	AtMs     int64
	Written  int64 // inbox seq written to the device; at least Acked
	Acked    int64 // and acknowledged by it
}

// ProgressKey asks when a device had an inbox seq; FromMs is when it was put there.
type ProgressKey struct {
	UserID   string
	DeviceID string
	Seq      int64
	FromMs   int64
}

// ProgressTimes are when a device was written an inbox seq, and when it acknowledged it;
// 0 = not that is known.
type ProgressTimes struct {
	WrittenAtMs int64
	AckedAtMs   int64
}
