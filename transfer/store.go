package transfer

import (
	"context"
	"time"

	"github.com/im-transfer/im"
)

// EventStore keeps the events of conversations: collection messages.
//
// Errors of every write in this file are those of package im: nil means that all
// of it is durable (with majority, where there are several copies);
// im.ErrDuplicate and im.ErrUnknown as described there; anything else that
// nothing was written. Reads are with majority: what they return can not be
// rolled back. All methods are safe for concurrent use.
type EventStore interface {
	// InsertEvents appends events in order; they may be of several
	// conversations. Unique are (conversation, seq) and (conversation, sender,
	// device, client id). A store with an outbox keeps the packs in the same
	// transaction, so there all of it is in or none; a pack's ref is unique for
	// ever, and one with a zero ref is not kept.
	InsertEvents(ctx context.Context, events []im.Event, packs []im.Pack) error
	// EventsByKey returns the events with these client keys, in any order;
	// those that are not stored are left out.
	EventsByKey(ctx context.Context, keys []im.ClientKey) ([]im.Event, error)
	// EventsAt returns the events at these places, in any order; those that are
	// not stored are left out.
	EventsAt(ctx context.Context, refs []im.EventRef) ([]im.Event, error)
	// EventsAfter returns up to limit events of a conversation above a seq,
	// ascending.
	EventsAfter(ctx context.Context, conversationID string, after int64, limit int) ([]im.Event, error)
	// EventsByID returns the events with these ids, in any order; those that are not
	// stored, or in another conversation than the one named, are left out.
	EventsByID(ctx context.Context, refs []im.MessageRef) ([]im.Event, error)
}

// MessageStore keeps what messages have become: the projections of recalls, edits and
// reactions.
type MessageStore interface {
	// MessageStates returns the states of messages, in any order; those that nothing
	// has changed have none.
	MessageStates(ctx context.Context, refs []im.MessageRef) ([]im.MessageState, error)
	// ProjectMessages writes states, each only if it is new or the stored seq is lower.
	// Doing it twice, or late, changes nothing.
	ProjectMessages(ctx context.Context, states []im.MessageState) error
}

// ConversationStore keeps the projections of conversations' events.
type ConversationStore interface {
	// Conversations returns the states of conversations, one for each id, in
	// the order asked.
	Conversations(ctx context.Context, ids []string) ([]im.ConversationState, error)
	// Project writes projections: each row only if it is new or its stored seq
	// (Member.Seq; for conversations AppliedSeq and LastSeq each) is lower.
	// Nil settings leave those that are stored. Doing it twice, or late, changes
	// nothing. A store without transactions
	// writes the members first: where there is a conversation's row, its members
	// are there.
	Project(ctx context.Context, conversations []im.Conversation, members []im.Member) error
	// StaysAt returns the stays that hold an event, ended ones included, in any order.
	StaysAt(ctx context.Context, ref im.EventRef) ([]im.Member, error)
	// UsersByID returns the users that exist among ids, in any order.
	UsersByID(ctx context.Context, ids []string) ([]im.User, error)
}

// InboxStore keeps the inboxes: blocks, cursors and read marks.
type InboxStore interface {
	// Heads returns where users' inboxes end and begin, one for each id, in the
	// order asked; the zero value for an empty inbox.
	Heads(ctx context.Context, userIDs []string) ([]im.InboxHead, error)
	// CommitInbox writes an inbox commit. Unique is (user, first seq) of a block
	// and, in a store without an outbox, (user, event id). Marks and cursors
	// only rise, column by column; with a store that has an outbox all of it is
	// one transaction. Own state, part by part, is written only where it is newer.
	CommitInbox(ctx context.Context, commit *im.InboxCommit) error
	// FindEntries returns those keys that are in an inbox, with their seq. A
	// store with an outbox, which needs no event index, may search the newest
	// 10,000 entries of a user only.
	FindEntries(ctx context.Context, keys []im.EntryKey) ([]im.EntryKey, error)
	// Blocks reads whole blocks of a user, from the one that holds after+1 on, until
	// they hold at least limit entries above after; rows first, floor second.
	Blocks(ctx context.Context, userID string, after int64, limit int) (im.InboxPage, error)
}

// MarkStore reads what CommitInbox keeps beside the blocks.
type MarkStore interface {
	// Cursors returns the cursors of all devices of these users.
	Cursors(ctx context.Context, userIDs []string) ([]im.Cursor, error)
	// Marks returns the read marks for keys, one for each, in the order asked.
	Marks(ctx context.Context, keys []im.ReadKey) ([]im.ReadMark, error)
	// DueReceipts returns the users of an inbox partition of n who have a read
	// mark or a cursor above its receipted value: work that a former owner left.
	DueReceipts(ctx context.Context, partition, n int) (marks []im.ReadMark, cursors []im.Cursor, err error)
	// Unread counts the counted events of others above each mark's ReadUpto and
	// within the user's stays that the user has neither cleared nor deleted, up to
	// im.MaxUnread; one for each, in the order asked. What has been recalled, or has
	// expired, is left out.
	Unread(ctx context.Context, marks []im.ReadMark) ([]int, error)
}

// OwnStore reads what CommitInbox keeps of users' own state.
type OwnStore interface {
	// Deleted returns those of some places that a user has deleted for themselves,
	// each once.
	Deleted(ctx context.Context, userID string, refs []im.EventRef) ([]im.EventRef, error)
	// Relations returns the relations for keys, one for each, in the order asked.
	Relations(ctx context.Context, keys []im.RelationKey) ([]im.Relation, error)
	// DueRelations returns the relations of the users of an inbox partition of n of
	// whose newest wish the peer has not been told: work that a former owner left.
	DueRelations(ctx context.Context, partition, n int) ([]im.RelationKey, error)
}

// SweepStore forgets what inboxes are not kept for any longer.
type SweepStore interface {
	// Clock returns the time on the store's own clock.
	Clock(ctx context.Context) (time.Time, error)
	// UsersAfter returns up to limit ids of users above an id, ascending. Everybody
	// who has an inbox is among them.
	UsersAfter(ctx context.Context, after string, limit int) ([]string, error)
	// SweepInbox deletes whole blocks of a user that were written before a time, from
	// the first on to the first that is younger, at most limit, and never the newest
	// one. Before any is gone the user's floor is raised, durably, to the last seq of
	// what goes. It returns how many it found to delete. Doing it twice, late, or
	// two at once changes nothing more.
	SweepInbox(ctx context.Context, userID string, before time.Time, limit int) (int, error)
	// SweepConnections deletes a user's connections that began before a time, at most
	// limit, and never the newest one. It returns how many it has deleted.
	SweepConnections(ctx context.Context, userID string, before time.Time, limit int) (int, error)
	// SweepProgress deletes the progress of a user's devices from before a time, at most
	// limit rows. It returns how many it has deleted.
	SweepProgress(ctx context.Context, userID string, before time.Time, limit int) (int, error)
}

// PresenceStore says who may see whom, and keeps the journal and the progress of devices,
// on which nothing else rests.
type PresenceStore interface {
	// Sharing returns those of others who are in a conversation with a user at present and
	// have not blocked the user, in any order; never the user. A direct one counts once
	// something was said.
	Sharing(ctx context.Context, userID string, others []string) ([]im.Sharing, error)
	// RecordConnections keeps connections, by their session ids. Their beginnings and ends
	// may come in any order, and more than once: the first end stands.
	RecordConnections(ctx context.Context, connections []im.Connection) error
	// LastSeen returns when users were online last, Unix milliseconds, one for each, in
	// the order asked: the end of their last connection, or its beginning where it has not
	// ended; 0 where there is none.
	LastSeen(ctx context.Context, userIDs []string) ([]int64, error)
	// AddProgress adds rows, which may come twice.
	AddProgress(ctx context.Context, rows []im.Progress) error
}

// TermStore keeps who owned which partition.
type TermStore interface {
	// LastTerm returns the partition's greatest term; im.ErrNotFound when it has
	// none.
	LastTerm(ctx context.Context, partition string) (im.Term, error)
	// InsertTerm adds a term, unique on (partition, term), and may prune rows
	// older than a day.
	InsertTerm(ctx context.Context, term im.Term) error
}

// LoginStore is what Login reads, and what sessions that attach again are held against.
type LoginStore interface {
	// LoginState returns everything about a user's device; im.ErrNotFound when
	// there is no such user or device.
	LoginState(ctx context.Context, userID, deviceID string) (im.LoginState, error)
	// Families returns the refresh families of devices, one for each, in the order
	// asked; empty for one that is signed out or not there.
	Families(ctx context.Context, devices []im.DeviceKey) ([]string, error)
}

// PackStore gives back what a queue that died with its process has forgotten.
type PackStore interface {
	// PendingPacks returns the packs of a store's outbox in the order they were
	// kept; none from a store without one.
	PendingPacks(ctx context.Context) ([]im.Pack, error)
	// Info returns the store's own row.
	Info(ctx context.Context) (im.StoreInfo, error)
}

// QuarantineStore keeps what can not be decoded.
type QuarantineStore interface {
	// Quarantine adds an item. One that is there already stays as it is.
	Quarantine(ctx context.Context, item im.Quarantined) error
	// Quarantined returns up to limit items, by their times and ids, behind a place
	// in that order.
	Quarantined(ctx context.Context, afterMs, afterID int64, limit int) ([]im.Quarantined, error)
	// QuarantinedItem returns an item; im.ErrNotFound when there is none.
	QuarantinedItem(ctx context.Context, id int64) (im.Quarantined, error)
	// Release forgets an item; im.ErrNotFound when there is none. A store with an
	// outbox keeps the packs in the same transaction, as InsertEvents does.
	Release(ctx context.Context, id int64, packs []im.Pack) error
}

// Store is all that a transfer needs of a store.
type Store interface {
	QuarantineStore
	EventStore
	ConversationStore
	MessageStore
	InboxStore
	SweepStore
	PresenceStore
	MarkStore
	OwnStore
	TermStore
	LoginStore
	PackStore
}
