package im

// CrashPlace names a place in the code at which a build with the tag fault kills
// itself when it is told to: see CrashPoint. At each of them another part of a
// promise is half done.
type CrashPlace string

// The crash places, in the order of a message's way. Each comment says what has
// happened there, and what has not. Each place stands in the code once.
const (
	// CrashAccepted: a transfer has judged the frames of a gateway's message and has
	// published nothing of them.
	CrashAccepted CrashPlace = "accepted"
	// CrashPublished: an item is with the queue's driver, which may have confirmed it
	// or not; nobody has been answered.
	CrashPublished CrashPlace = "published"
	// CrashBeforeInsert: events have their seqs and ids; nothing of them is stored.
	CrashBeforeInsert CrashPlace = "before-insert"
	// CrashInserted: events are stored, with their packs where the store has an
	// outbox; nothing is in the queue, and no sender has been answered.
	CrashInserted CrashPlace = "inserted"
	// CrashFannedOut: the queue has confirmed every pack of a batch; no sender has
	// been answered, and the commands are not acknowledged to the queue.
	CrashFannedOut CrashPlace = "fanned-out"
	// CrashSendersAnswered: the senders of a batch have been answered; its commands
	// are not acknowledged to the queue and come again.
	CrashSendersAnswered CrashPlace = "senders-answered"
	// CrashBeforeInboxCommit: entries have their inbox seqs; nothing of the commit is
	// stored.
	CrashBeforeInboxCommit CrashPlace = "before-inbox-commit"
	// CrashInboxCommitted: a commit is in the inboxes; nothing of it has been pushed
	// or answered, and its packs are not acknowledged to the queue.
	CrashInboxCommitted CrashPlace = "inbox-committed"
)

// CrashPlaces returns all of them, in the order of a message's way.
func CrashPlaces() []CrashPlace {
	return []CrashPlace{
		CrashAccepted, CrashPublished,
		CrashBeforeInsert, CrashInserted, CrashFannedOut, CrashSendersAnswered,
		CrashBeforeInboxCommit, CrashInboxCommitted,
	}
}
