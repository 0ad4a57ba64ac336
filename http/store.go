package http

import (
	"context"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Accounts keeps users. Errors are those of package im's stores.
type Accounts interface {
	// CreateUser adds a user; im.ErrDuplicate when the name is taken.
	CreateUser(ctx context.Context, user im.User) error
	// UserByName returns the user of a (lowered) name, or im.ErrNotFound.
	UserByName(ctx context.Context, username string) (im.User, error)
	// UsersByID returns the users that exist among ids, in any order.
	UsersByID(ctx context.Context, ids []string) ([]im.User, error)
	// EnsureUsers makes the users whose names are missing. It returns the user of
	// each name and whether it was made now, in the order asked; a name asked
	// twice is made once.
	EnsureUsers(ctx context.Context, users []im.User) ([]im.User, []bool, error)
	// UsersByPrefix returns up to limit users whose names begin with a prefix, by
	// name, behind a name.
	UsersByPrefix(ctx context.Context, prefix, after string, limit int) ([]im.User, error)
	// ChangeAccount changes an account; im.ErrNotFound when there is none. One that is
	// deleted stays so.
	ChangeAccount(ctx context.Context, userID string, change im.AccountChange) error
}

// Relations reads what users have to do with each other.
type Relations interface {
	// Relations returns the relations for keys, one for each, in the order asked.
	Relations(ctx context.Context, keys []im.RelationKey) ([]im.Relation, error)
	// RelationsOf returns up to limit relations of a user behind that with a peer, in
	// an order that does not change.
	RelationsOf(ctx context.Context, userID, afterPeer string, limit int) ([]im.Relation, error)
}

// Devices keeps users' devices and their refresh families.
type Devices interface {
	// PutDevice adds a device, or gives an existing one a new platform and
	// family. Its cursor and name stay, and where it is woken.
	PutDevice(ctx context.Context, device im.Device) error
	// Device returns a device, or im.ErrNotFound.
	Device(ctx context.Context, userID, deviceID string) (im.Device, error)
	// DevicesOf returns the devices of a user, those signed out included, in any order.
	DevicesOf(ctx context.Context, userID string) ([]im.Device, error)
	// ChangeDevice changes a device; im.ErrNotFound when there is none.
	ChangeDevice(ctx context.Context, userID, deviceID string, change im.DeviceChange) error
	// Cursors returns the cursors of all devices of these users.
	Cursors(ctx context.Context, userIDs []string) ([]im.Cursor, error)
	// SignOut clears the families of devices, and where they are woken, of those that
	// still have the family given.
	SignOut(ctx context.Context, devices ...im.Device) error
	// InsertRefresh adds a generation to a family, unique on (family,
	// generation); im.ErrDuplicate when another request was faster. It may
	// forget generations that are more than 2 before this one and were added more
	// than a minute before it.
	InsertRefresh(ctx context.Context, refresh im.Refresh) error
	// LastRefresh returns a family's highest generation, or im.ErrNotFound.
	LastRefresh(ctx context.Context, family string) (im.Refresh, error)
	// Refresh returns one generation of a family, or im.ErrNotFound.
	Refresh(ctx context.Context, family string, generation int64) (im.Refresh, error)
}

// Histories reads what the pipeline has written.
type Histories interface {
	// ConversationList returns up to limit conversations of a user below a
	// position, newest first. Hidden lag is not allowed: every event that is
	// stored counts.
	ConversationList(ctx context.Context, userID string, from im.ListCursor, limit int) ([]im.ConversationView, error)
	// ConversationOf returns one line of the list, or im.ErrNotFound for who is
	// not, and never was, a member.
	ConversationOf(ctx context.Context, userID, conversationID string) (im.ConversationView, error)
	// Conversations returns the states of conversations, one for each id, in the order
	// asked.
	Conversations(ctx context.Context, ids []string) ([]im.ConversationState, error)
	// Stays returns the stays of a user in a conversation, past ones included.
	Stays(ctx context.Context, userID, conversationID string) ([]im.Member, error)
	// History returns message events of a range, ascending, and whether there
	// are more in the direction of the range. What has expired is left out.
	History(ctx context.Context, r im.EventRange) ([]im.Event, bool, error)
	// EventsByID returns the events with these ids, in any order; those that are not
	// stored, or in another conversation than the one named, are left out.
	EventsByID(ctx context.Context, refs []im.MessageRef) ([]im.Event, error)
	// MessageStates returns the states of messages, in any order; those that nothing
	// has changed have none.
	MessageStates(ctx context.Context, refs []im.MessageRef) ([]im.MessageState, error)
	// Marks returns how far users have read, and how they see, conversations; one for
	// each key, in the order asked.
	Marks(ctx context.Context, keys []im.ReadKey) ([]im.ReadMark, error)
	// Deleted returns those of some places that a user has deleted for themselves.
	Deleted(ctx context.Context, userID string, refs []im.EventRef) ([]im.EventRef, error)
	// ReadMarksOf returns the marks of all present members of a conversation.
	ReadMarksOf(ctx context.Context, conversationID string) ([]im.ReadMark, error)
	// Heads returns where users' inboxes end, one for each id.
	Heads(ctx context.Context, userIDs []string) ([]im.InboxHead, error)
	// Info returns the store's own row.
	Info(ctx context.Context) (im.StoreInfo, error)
}

// Journals reads what is kept of connections.
type Journals interface {
	// Connections returns up to limit connections of a user below a place, the newest
	// first.
	Connections(ctx context.Context, q im.ConnectionQuery) ([]im.Connection, error)
}

// Passports reads what is kept of the way of a message.
type Passports interface {
	// StaysAt returns the stays that hold an event, ended ones included, in any order.
	StaysAt(ctx context.Context, ref im.EventRef) ([]im.Member, error)
	// FindDeliveries returns where an event stands in users' inboxes. Those that do not
	// have it are left out; a store may look at the 10,000 entries from its time on only.
	FindDeliveries(ctx context.Context, event *im.Event, userIDs []string) ([]im.EntryKey, error)
	// Blocks reads whole blocks of a user, from the one that holds after+1 on, until
	// they hold at least limit entries above after.
	Blocks(ctx context.Context, userID string, after int64, limit int) (im.InboxPage, error)
	// FirstProgress returns when devices had come so far, at or after a time; one for each
	// key, in the order asked.
	FirstProgress(ctx context.Context, keys []im.ProgressKey) ([]im.ProgressTimes, error)
}

// Broadcasts keeps what the operator sends to many.
type Broadcasts interface {
	// InsertBroadcast adds a broadcast; im.ErrDuplicate when there is one of its id.
	InsertBroadcast(ctx context.Context, b im.Broadcast) error
	// Broadcast returns a broadcast, or im.ErrNotFound.
	Broadcast(ctx context.Context, id string) (im.Broadcast, error)
	// RunningBroadcasts returns those that are running, in any order, without their content
	// and users, which may be large.
	RunningBroadcasts(ctx context.Context) ([]im.Broadcast, error)
	// LatestBroadcasts returns up to limit broadcasts behind a place, the newest first,
	// likewise.
	LatestBroadcasts(ctx context.Context, from im.BroadcastCursor, limit int) ([]im.Broadcast, error)
	// RaiseBroadcast raises a broadcast's progress, each column only if it is higher.
	// Doing it twice, or late, changes nothing.
	RaiseBroadcast(ctx context.Context, id string, progress im.BroadcastProgress) error
	// UsersAfter returns up to limit ids of users above an id, ascending.
	UsersAfter(ctx context.Context, after string, limit int) ([]string, error)
	// LastTerm returns a partition's greatest term, or im.ErrNotFound.
	LastTerm(ctx context.Context, partition string) (im.Term, error)
	// InsertTerm adds a term, unique on (partition, term): im.ErrDuplicate.
	InsertTerm(ctx context.Context, term im.Term) error
}

// Pipeline is the way to the transfer servers.
type Pipeline interface {
	// Publish hands a request to accept and waits for its answer. The session
	// and request numbers are filled in. When the context ends first the answer
	// is unknown: an im.Unavailable error.
	Publish(ctx context.Context, publish *imv1.Publish) (*imv1.Reply, error)
	// Ack moves a device's cursor up and waits until it is stored.
	Ack(ctx context.Context, acked *imv1.Acked) (*imv1.Reply, error)
	// Pull reads a page of an inbox.
	Pull(ctx context.Context, pull *imv1.PullRequest) (*imv1.PullReply, error)
	// Kick closes live sessions of a user.
	Kick(ctx context.Context, kick *imv1.KickRequest) (*imv1.KickReply, error)
	// RoomStatus tells how many are in a room, and whether a user is.
	RoomStatus(ctx context.Context, request *imv1.RoomStatusRequest) (*imv1.RoomStatusReply, error)
}

// Discovery knows the live servers.
type Discovery interface {
	// Watch sends the live servers of a role: at once, and after every change.
	Watch(ctx context.Context, role string) (<-chan []im.Server, error)
}

// Tokens issues and judges access tokens.
type Tokens interface {
	// Issue signs a token that says these claims.
	Issue(claims im.Claims) (string, error)
	// Verify returns what a token says; an im.Unauthenticated error for one that
	// is not ours or has ended.
	Verify(token string) (im.Claims, error)
}
