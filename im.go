// Package im holds the nouns of the instant-messaging system: users, devices,
// conversations, events and inbox entries, their identifiers, their limits and
// the error codes. It imports the standard library only and declares no
// interfaces; every other package speaks in these values.
package im

import "math"

// Limits that the client protocol fixes.
const (
	MaxIDBytes          = 64            // opaque string ids: users, devices, groups, rooms, files
	MaxClientIDBytes    = 64            // client_msg_id
	MaxContentBytes     = 60 << 10      // the protobuf encoding of a Content
	MaxClientFrameBytes = 65536         // a client's frame, header included, or text message
	MaxServerFrameBytes = 1 << 20       // a server's frame ("max_frame")
	MaxAttributes       = 16            // attributes of a message
	MaxAttributeKey     = 64            // bytes
	MaxAttributeValue   = 1 << 10       // bytes
	MaxUnread           = 1000          // unread counts are exact up to here
	MaxSignalTypeBytes  = 32            // bytes of a signal's type
	MaxGroupMembers     = 500           // members of a group written to inboxes
	DefaultPage         = 50            // entries of a page when limit is 0
	MaxPage             = 200           // entries of a page at most
	ProtocolVersion     = 1             // newest client protocol spoken
	Forever             = math.MaxInt64 // LeftSeq of a member who has not left
)

// ConversationType says what a conversation id was made from.
type ConversationType string

// The conversation types.
const (
	Direct ConversationType = "direct"
	Group  ConversationType = "group"
	Room   ConversationType = "room"
)

// Kind names what an event is, and what an inbox entry shows.
type Kind string

// The kinds. Message to Membership are events of a conversation and have a
// conversation seq; the others concern one user only.
const (
	KindMessage      Kind = "message"
	KindRecall       Kind = "recall"
	KindEdit         Kind = "edit"
	KindReaction     Kind = "reaction"
	KindMembership   Kind = "membership"
	KindReceipt      Kind = "receipt"
	KindDeleted      Kind = "deleted"
	KindConversation Kind = "conversation"
	KindContact      Kind = "contact"
	KindProfile      Kind = "profile"
)

// Platforms that a device may name.
var platforms = [...]string{"web", "desktop", "ios", "android", "tablet", "other"}

// User is an account.
type User struct {
	ID           string
	Username     string // lower case, unique
	Nickname     string
	PasswordHash string // PHC string; empty = no password log-in (made by the service API)
	CreatedAtMs  int64
	Disabled     bool // it can not log in
	Deleted      bool // for good; it is disabled too
	AvatarFileID string
	Bio          string
}

// Device is one device of a user. Cursor, ReceiptedSeq and the refresh family
// live in its row.
type Device struct {
	UserID      string
	DeviceID    string
	Platform    string
	Family      string // of the tokens issued last; empty = signed out
	CreatedAtMs int64
	Name        string // the user's own for it; empty = none
	Push        Push
}

// Cursor is how far a device has acknowledged its user's inbox.
type Cursor struct {
	UserID       string
	DeviceID     string
	Seq          int64 // highest acknowledged inbox seq; only rises
	ReceiptedSeq int64 // delivered receipts have been issued up to here; only rises
}

// Event is a row of messages: one thing that happened to a conversation, at its
// place in the conversation's order. It never changes.
type Event struct {
	ID             int64 // snowflake; increasing per conversation partition
	ConversationID string
	Seq            int64 // contiguous from 1 within the conversation
	Kind           Kind
	SenderID       string
	DeviceID       string
	ClientID       string // unique per (conversation, sender, device)
	Hash           uint64 // of the canonical content; a repeat with another hash is a conflict
	AtMs           int64  // when it was sequenced, Unix milliseconds
	AcceptedAtMs   int64  // when accept took it
	TargetID       int64  // the event that it changes, 0 = none
	ThreadID       int64
	ExpiresAtMs    int64 // 0 = never
	Counted        bool  // counts as unread for others
	Flags          uint32
	B3             string // trace, B3 single header; empty = none
	Body           []byte // encoded im.v1.Message with content and attributes only; of other kinds what they say

	// Mentions are the members whom a message mentions, or MentionAll. They are written,
	// to be counted; reads of events leave them out.
	Mentions []string
}

// The flags of an event.
const (
	FlagNoPush uint32 = 1 << iota // it wakes no sleeping device
	FlagLate                      // it comes from the quarantine, not when its turn was
)

// ClientKey is what makes a command the same command again.
type ClientKey struct {
	ConversationID string
	SenderID       string
	DeviceID       string
	ClientID       string
}

// Key returns the event's client key.
func (e *Event) Key() ClientKey {
	return ClientKey{e.ConversationID, e.SenderID, e.DeviceID, e.ClientID}
}

// Conversation is the projection of a conversation's own events.
type Conversation struct {
	ID         string
	Type       ConversationType
	Key        string // group or room id; the sorted user ids of a direct one, joined by a NUL
	AppliedSeq int64  // all events up to here are in the projections
	LastSeq    int64  // hint: messages may hold newer
	LastAtMs   int64  // hint, as LastSeq
	CreatedAt  int64  // Unix milliseconds
	Settings   []byte // encoded; nil = none
}

// Member is one stay of a user in a conversation: events with JoinedSeq <= seq
// <= LeftSeq are theirs.
type Member struct {
	ConversationID string
	UserID         string
	JoinedSeq      int64
	LeftSeq        int64 // Forever = still a member
	Role           string
	MutedUntilMs   int64
	Blocked        bool  // direct: the other side has blocked this user
	Seq            int64 // the conversation seq that this row reflects
}

// Sharing is a user whom another one may see, for they share a conversation.
type Sharing struct {
	UserID string
	Seq    int64 // the conversation seq of the last block, or end of one, in their direct conversation that is known; 0 = none
}

// ConversationState is what a sequencer loads when it meets a conversation.
type ConversationState struct {
	Conversation
	Exists  bool     // false: no row; only the id is set
	Head    int64    // highest seq in messages, read with majority; of a group also where there is no row
	Members []Member // stays that have not ended
	Changes []Event  // events above AppliedSeq that are no messages, ascending; of a group also where there is no row
}

// EventID identifies an entry within one inbox, for dedupe.
type EventID [16]byte

// InboxEntry is one line of a user's inbox as stored. Its seq is its block's
// first plus its place.
type InboxEntry struct {
	EventID         EventID
	Kind            Kind
	MessageID       int64 // the event's id; 0 for kinds without an event
	ConversationID  string
	ConversationSeq int64
	Data            []byte // an encoded im.v1.Entry with what the event, if it has one, does not say; without seq
}

// Block is a row of inbox: all of one user's entries of one commit.
type Block struct {
	UserID   string
	FirstSeq int64
	AtMs     int64
	Entries  []InboxEntry
}

// LastSeq is the seq of the block's last entry.
func (b *Block) LastSeq() int64 { return b.FirstSeq + int64(len(b.Entries)) - 1 }

// InboxHead is where a user's inbox ends and begins.
type InboxHead struct {
	Head  int64 // highest seq; 0 = empty
	Floor int64 // highest seq that retention may have deleted
}

// InboxPage is a run of blocks, the floor read after the rows.
type InboxPage struct {
	Blocks []Block // ascending; the first may begin at or before the seq asked for
	InboxHead
}

// ReadKey names one user's view of one conversation.
type ReadKey struct {
	UserID         string
	ConversationID string
}

// ReadMark is how far a user has read, and been delivered, a conversation, and how
// they see it. All its columns only rise.
type ReadMark struct {
	UserID         string
	ConversationID string
	ReadUpto       int64 // conversation seq
	ReceiptedUpto  int64 // read receipts have been issued up to here
	DeliveredUpto  int64 // delivered receipts have been issued up to here

	ClearedUpto int64 // what is up to here is shown no more
	DeletedUpto int64 // the highest seq that is deleted for this user; 0 = none is
	Muted       Flag
	Pinned      Flag
	Hidden      Flag
	Unread      Flag // marked as unread, whatever has been read
}

// Pack is one item of an inbox queue: encoded InboxPack bytes for one partition.
type Pack struct {
	Ref       PackRef
	Partition int
	Body      []byte
	B3        string // trace of a message in Body, for who looks at the queue; empty = none
}

// PackRef names a pack in the outbox of a store that has one, or, of commands, the
// item of the quarantine that they were; the zero value is none.
type PackRef struct {
	Commit    int64
	Partition int
}

// InboxCommit is what the inbox step writes at once, in this order where the
// store has no transactions: marks, cursors, blocks, own state; then, only in a store
// with an outbox, packs are kept and done ones forgotten.
type InboxCommit struct {
	Marks   []ReadMark
	Cursors []Cursor
	Blocks  []Block
	Own     OwnState  // what Blocks tell; written behind them
	Packs   []Pack    // new ones for other partitions
	Done    []PackRef // those whose envelopes Blocks hold
}

// Term is one owner's hold on a partition: ids below IDCeiling may be given.
type Term struct {
	Partition string // "conversation.3", "inbox.7"
	Term      int64
	IDCeiling int64 // Unix milliseconds, exclusive
	Owner     string
	AtMs      int64
}

// Server is a live server as the registry knows it.
type Server struct {
	ID      string
	Role    string // http, websocket, tcp or transfer
	Address string // host:port that clients, or for transfer other servers, dial
	URL     string // for clients: ws://…/ws, tcp://…
	Load    int64  // connections

	// Stranded: a transfer that doubts whether it can reach its store and its queue.
	Stranded bool
}

// Delivery is one item taken from a queue partition.
type Delivery struct {
	Body []byte
	Ref  PackRef // of an outbox pack, else zero
	Tag  uint64  // acknowledged cumulatively
}

// ClusterFacts are fixed when a cluster is created; a server that is configured
// otherwise must not start.
type ClusterFacts struct {
	ConversationPartitions int
	InboxPartitions        int
	Prefetch               int
	Format                 int
}

// Claims is what an access token says.
type Claims struct {
	UserID      string
	DeviceID    string
	Platform    string
	Family      string // the refresh family it was issued with; must be the device's
	ExpiresAtMs int64
}

// LoginState is what an auth frame is judged by, read in one go with majority.
type LoginState struct {
	User      User
	Device    Device
	Cursor    Cursor
	HasCursor bool // false: the device has never been authenticated on a connection
	InboxHead
}

// Refresh is one token of a refresh family: the highest generation is the one in
// force.
type Refresh struct {
	Family     string
	Generation int64
	AtMs       int64
}

// EventRef names an event by its place.
type EventRef struct {
	ConversationID string
	Seq            int64
}

// EntryKey names an inbox entry by its event; Seq is filled in by who finds it.
type EntryKey struct {
	UserID  string
	EventID EventID
	Seq     int64
}

// StoreInfo is the store's own row.
type StoreInfo struct {
	Format     int
	InboxEpoch string // random at creation, changed by a restore
	Outbox     bool   // the store keeps packs itself, because its queue forgets them
}

// ConversationView is a line of a user's conversation list.
type ConversationView struct {
	Conversation
	Head     int64 // highest conversation seq that this user may see
	Mark     ReadMark
	Unread   int    // at most MaxUnread
	Mentions int    // those of Unread that mention the user
	Present  bool   // the user is a member now
	PeerID   string // direct: the other user, or oneself
	LastAtMs int64  // of the newest event; with ID the position in the list
	Last     *Event // newest message event; nil = none
}

// ListCursor is a position in a conversation list, which is sorted by LastAtMs
// and ID, newest first. The zero value is the beginning.
type ListCursor struct {
	LastAtMs int64
	ID       string
}

// EventRange asks for message events of a conversation by seq, exclusive.
type EventRange struct {
	ConversationID string
	After          int64 // with Forward: from here on, ascending
	Before         int64 // without: the newest below this; 0 = from the end
	Forward        bool
	ThreadID       int64 // only those of this thread; 0 = all
	Limit          int
	Stays          []Member // only seqs within one of these; never empty
	Viewer         ReadMark // what its user has cleared or deleted is left out
}

// Quarantined is an item of a queue that can not be decoded, kept for a person to
// look at and a mended server to replay.
type Quarantined struct {
	Topic     string
	Partition int
	Reason    string
	Body      []byte
	AtMs      int64 // when it came first
}

// Empty reports whether a commit would write nothing.
func (c *InboxCommit) Empty() bool {
	return len(c.Marks)+len(c.Cursors)+len(c.Blocks)+len(c.Packs)+len(c.Done) == 0 && c.Own.Empty()
}
