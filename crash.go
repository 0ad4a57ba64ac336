package im

// CrashPlace names a place in the code at which a build with the tag fault kills
// itself when it is told to: see CrashPoint. At each of them another part of a
// promise is half done.
type CrashPlace string

// The crash places, in the order of a message's way. Each comment says what has
// happened there, and what has not. Each place stands in the code once.
const (
	// CrashUserMade: an account is stored; who registers has no answer.
	CrashUserMade CrashPlace = "user-made"
	// CrashFamilyBegun: the first refresh token of a log-in is stored; the device does
	// not have it yet and still goes by its former tokens.
	CrashFamilyBegun CrashPlace = "family-begun"
	// CrashTokenReplaced: the successor of a refresh token is stored; the client has
	// no answer.
	CrashTokenReplaced CrashPlace = "token-replaced"
	// CrashSignedOut: a device's tokens have ended; its connection is open.
	CrashSignedOut CrashPlace = "signed-out"

	// CrashLoginJudged: a transfer has judged an auth and stored the device's first
	// cursor; the session is attached to no inbox and has no answer.
	CrashLoginJudged CrashPlace = "login-judged"
	// CrashAttached: the owner of an inbox knows a session and its generation; the
	// gateway has not been told.
	CrashAttached CrashPlace = "attached"
	// CrashSendRead: a gateway has read a send off its socket; no transfer has it.
	CrashSendRead CrashPlace = "send-read"

	// CrashAccepted: a transfer has judged the requests of a gateway's message and
	// published none of them.
	CrashAccepted CrashPlace = "accepted"
	// CrashPublished: an item is with the queue's driver, which may have confirmed it
	// or not; nobody has been answered.
	CrashPublished CrashPlace = "published"
	// CrashConfirmed: the queue has confirmed an item, or refused it; nobody has been
	// told.
	CrashConfirmed CrashPlace = "confirmed"

	// CrashCommandsReceived: a sequencer has a batch; nothing has been done.
	CrashCommandsReceived CrashPlace = "commands-received"
	// CrashMembersWritten: the members of a new conversation are stored; the
	// conversation is not (MongoDB).
	CrashMembersWritten CrashPlace = "members-written"
	// CrashConversationMade: a new conversation and its members are stored; its first
	// message is not.
	CrashConversationMade CrashPlace = "conversation-made"
	// CrashBeforeInsert: events have their seqs and ids; nothing of them is stored.
	CrashBeforeInsert CrashPlace = "before-insert"
	// CrashInserted: events are stored, with their packs where the store has an
	// outbox; nothing is in the queue, and no sender has been answered.
	CrashInserted CrashPlace = "inserted"
	// CrashProjected: what a stored event changes is in the projections; it is on its
	// way to nobody.
	CrashProjected CrashPlace = "projected"
	// CrashPackHanded: one pack of a batch is with the queue's driver; the others are
	// not.
	CrashPackHanded CrashPlace = "pack-handed"
	// CrashFannedOut: the queue has confirmed every pack of a batch; no sender has
	// been answered, and the commands are not acknowledged to the queue.
	CrashFannedOut CrashPlace = "fanned-out"
	// CrashSendersAnswered: the senders of a batch have been answered; its commands
	// are not acknowledged to the queue and come again.
	CrashSendersAnswered CrashPlace = "senders-answered"
	// CrashBeforeHints: senders were answered up to a second ago; the rows of their
	// conversations do not show the messages.
	CrashBeforeHints CrashPlace = "before-hints"

	// CrashPacksReceived: the owner of an inbox partition has a batch; nothing has
	// been done.
	CrashPacksReceived CrashPlace = "packs-received"
	// CrashBeforeInboxCommit: entries have their inbox seqs; nothing of the commit is
	// stored.
	CrashBeforeInboxCommit CrashPlace = "before-inbox-commit"
	// CrashMarksRaised: the marks and cursors of a commit are stored; its blocks are
	// not (MongoDB).
	CrashMarksRaised CrashPlace = "marks-raised"
	// CrashInboxCommitted: a commit is in the inboxes; nothing of it has been pushed
	// or answered, and its packs are not acknowledged to the queue.
	CrashInboxCommitted CrashPlace = "inbox-committed"
	// CrashPushed: the entries of a commit are on their way to the gateways; reads and
	// acks in it are not answered, and its packs are not acknowledged to the queue.
	CrashPushed CrashPlace = "pushed"
	// CrashReceiptsPublished: the queue has confirmed receipts for others; that they
	// are out is not noted (stores without an outbox).
	CrashReceiptsPublished CrashPlace = "receipts-published"

	// CrashReplyTaken: a gateway has the answer to a request and no longer waits for
	// it; nothing is written to the device.
	CrashReplyTaken CrashPlace = "reply-taken"
	// CrashCallAnswered: an http server has the pipeline's answer; its client has
	// none.
	CrashCallAnswered CrashPlace = "call-answered"
	// CrashWritten: frames have been written to a socket; what the device makes of
	// them nobody knows.
	CrashWritten CrashPlace = "written"
	// CrashAckRead: a gateway has read an ack and opened the window; the owner has not
	// been told.
	CrashAckRead CrashPlace = "ack-read"
	// CrashAckTaken: the owner has moved a cursor in memory; it is not stored.
	CrashAckTaken CrashPlace = "ack-taken"

	// CrashDeregistered: a transfer that stops is no longer listed; it still owns its
	// partitions.
	CrashDeregistered CrashPlace = "deregistered"
	// CrashReleased: the gateways know that an inbox partition is given up; the commit
	// in hand is not acknowledged, and cursors are not stored.
	CrashReleased CrashPlace = "released"
	// CrashCursorsLeft: cursors are stored for the next owner; durable acks are not
	// answered, and the consumer is open.
	CrashCursorsLeft CrashPlace = "cursors-left"
	// CrashSequencerEnded: a sequencer has finished the batch in hand; its consumer is
	// open.
	CrashSequencerEnded CrashPlace = "sequencer-ended"
	// CrashConsumerOpened: a partition's items come here; no term has been taken.
	CrashConsumerOpened CrashPlace = "consumer-opened"
	// CrashTermTaken: a term is stored; no id of it has been given.
	CrashTermTaken CrashPlace = "term-taken"
	// CrashPackReplayed: one pack of the outbox is in the queue again; the others are
	// not, and nothing is accepted yet (stores with an outbox).
	CrashPackReplayed CrashPlace = "pack-replayed"

	// CrashQuarantined: an item is in the quarantine; the queue has not forgotten it.
	CrashQuarantined CrashPlace = "quarantined"
	// CrashReplayed: an item of the quarantine has gone its way again; it is still in
	// the quarantine.
	CrashReplayed CrashPlace = "replayed"
	// CrashReplayKept: a pack has left the quarantine for the outbox; it is not in the
	// queue (stores with an outbox).
	CrashReplayKept CrashPlace = "replay-kept"
	// CrashFloorRaised: the floor of an inbox is raised, within a transaction; the
	// blocks below it are there (SQLite).
	CrashFloorRaised CrashPlace = "floor-raised"
	// CrashBeforeTransaction: SQLite's writer has carried out a group; the transaction
	// is not committed.
	CrashBeforeTransaction CrashPlace = "before-transaction"
	// CrashTransactionCommitted: a transaction is in SQLite's log, synced; none of its
	// callers has been told.
	CrashTransactionCommitted CrashPlace = "transaction-committed"
)

// CrashPlaces returns all of them, in the order of a message's way.
func CrashPlaces() []CrashPlace {
	return []CrashPlace{
		CrashUserMade, CrashFamilyBegun, CrashTokenReplaced, CrashSignedOut,
		CrashLoginJudged, CrashAttached, CrashSendRead,
		CrashAccepted, CrashPublished, CrashConfirmed,
		CrashCommandsReceived, CrashMembersWritten, CrashConversationMade, CrashBeforeInsert, CrashInserted,
		CrashProjected, CrashPackHanded, CrashFannedOut, CrashSendersAnswered, CrashBeforeHints,
		CrashPacksReceived, CrashBeforeInboxCommit, CrashMarksRaised, CrashInboxCommitted, CrashPushed,
		CrashReceiptsPublished,
		CrashReplyTaken, CrashCallAnswered, CrashWritten, CrashAckRead, CrashAckTaken,
		CrashDeregistered, CrashReleased, CrashCursorsLeft, CrashSequencerEnded, CrashConsumerOpened,
		CrashTermTaken, CrashPackReplayed,
		CrashQuarantined, CrashReplayed, CrashReplayKept, CrashFloorRaised, CrashBeforeTransaction,
		CrashTransactionCommitted,
	}
}
