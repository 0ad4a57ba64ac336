package breaks

import "github.com/im-transfer/im/check"

// in makes an edit.
func in(file, old, with string) edit { return edit{file: file, old: old, new: with} }

// helping makes an edit that breaks nothing.
func helping(file, old, with string) edit { return edit{file: file, old: old, new: with, helps: true} }

var (
	// refusals has accept refuse some sends with unavailable, which is honest, and
	// what promises are put to the proof by.
	refusals = helping("transfer/accept.go",
		"if err := s.admit(TopicConversation, partition); err != nil {",
		`if command.AcceptedAtMs%8 == 0 {
			return im.Retry(im.Unavailable, time.Millisecond, "refused for the test")
		}
		if err := s.admit(TopicConversation, partition); err != nil {`)

	// lostPushes drops every fifth push, which is honest too: a push is only a hint.
	lostPushes = helping("transfer/stream.go",
		"g.pushBytes+size <= maxPushBytes {",
		"g.pushBytes+size <= maxPushBytes && p.Targets[0].Seq%5 > 0 {")

	// slowInbox gives a kill time to fall between the two commits of a message.
	slowInbox = []edit{
		helping("common/sqlite/inbox.go", `	"context"`, "\t\"context\"\n\t\"time\""),
		helping("common/sqlite/inbox.go",
			`	return s.write(ctx, "commit inbox", func(t *tx) error {`,
			"\ttime.Sleep(50 * time.Millisecond)\n\treturn s.write(ctx, \"commit inbox\", func(t *tx) error {"),
	}
)

var breaks = []breakage{
	{
		name: "ack-before-insert", promise: "No loss: the event is stored before the ack", quick: true,
		what: "the ack goes out first",
		edits: []edit{
			helping("transfer/sequence.go", `"log/slog"`, "\"log/slog\"\n\t\"time\""),
			in("transfer/sequence.go",
				"		if err := s.insert(ctx, planned); err != nil {\n",
				"		s.reply(planned)\n		time.Sleep(20 * time.Millisecond)\n		if err := s.insert(ctx, planned); err != nil {\n"),
		},
		court: bench{kills: true, kinds: []check.Kind{check.Loss}},
	},
	{
		name: "outbox-not-written", promise: "No loss: its way to the inboxes is stored with it",
		what: "no outbox rows are written",
		edits: append([]edit{
			in("transfer/repeat.go", "err := s.store.InsertEvents(ctx, events, packs)", "err := s.store.InsertEvents(ctx, events, nil)"),
		}, slowInbox...),
		court: bench{kills: true, kinds: []check.Kind{check.Loss}},
	},
	{
		name: "outbox-not-replayed", promise: "No loss: a crash between the two is made up for",
		what: "the outbox is not published at start",
		edits: append([]edit{
			in("transfer/transfer.go", "if err := s.replayPacks(ctx); err != nil {", "if err := error(nil); err != nil {"),
		}, slowInbox...),
		court: bench{kills: true, kinds: []check.Kind{check.Loss}},
	},
	{
		name: "push-over-a-hole", promise: "No loss: a device misses nothing that is in the inbox",
		what:  "a push is written whatever is missing before it",
		edits: []edit{lostPushes, in("session/window.go", "seq == s.cursor+1 && !s.feeding", "seq > s.cursor")},
		court: bench{kinds: []check.Kind{check.Gap}},
	},
	{
		name: "floor-not-raised", promise: "No loss: what retention deletes is not taken for delivered",
		what:  "blocks go without the floor",
		edits: []edit{in("common/sqlite/sweep.go", "t.exec(raiseFloor, user, last)", "t.exec(raiseFloor, user, 0*last)")},
		court: story{folder: "./test", test: "TestWhoWasAwayForTooLongStartsOver", says: []string{"is still there"}},
	},
	{
		name: "resume-above-the-cursor", promise: "No loss: a cursor never passes what a device has",
		what:  "a session resumes at the head",
		edits: []edit{in("transfer/login.go", "reply.ResumeFrom = from\n", "reply.ResumeFrom = state.Head\n")},
		court: bench{kinds: []check.Kind{check.Loss}},
	},
	{
		name: "events-not-unique", promise: "No duplicates: one event per client key", quick: true,
		what: "the index does not refuse",
		edits: []edit{
			in("common/sqlite/schema.go", "CREATE UNIQUE INDEX messages_once", "CREATE INDEX messages_once"),
			in("transfer/sequence.go", "known, ok := s.recent.get(p.key); ok {", "known, ok := s.recent.get(p.key); ok && false {"),
		},
		court: bench{kinds: []check.Kind{check.Identity}},
	},
	{
		name: "content-not-compared", promise: "No duplicates: the same id with other content is told apart",
		what:  "hashes are not compared",
		edits: []edit{in("transfer/sequence.go", "if stored.Hash != p.command.Hash {", "if false {")},
		court: story{folder: "./test", test: "TestARetryIsAnsweredWithTheOriginal", says: []string{"conflict"}},
	},
	{
		name: "outbox-never-emptied", promise: "No duplicates: one entry per event and inbox",
		what:  "outbox rows stay when their entries are in",
		edits: []edit{in("common/sqlite/inbox.go", "return t.forgetPacks(commit.Done)", "return nil")},
		court: bench{kills: true, kinds: []check.Kind{check.Duplicate}},
	},
	{
		name: "page-repeats-its-end", promise: "No duplicates: one delivery per seq and session",
		what:  "the last entry of every second page comes again",
		edits: []edit{in("session/pull.go", "	s.cursor += int64(len(entries))\n", "	s.cursor += int64(len(entries)) - int64(len(entries)+1)%2\n")},
		court: bench{kinds: []check.Kind{check.Duplicate}},
	},
	{
		name: "inbox-in-another-order", promise: "Order: the inbox keeps it",
		what:  "a batch is stamped backwards",
		edits: []edit{in("transfer/commit.go", "	c.received = len(c.planned)\n", "	slices.Reverse(c.planned)\n	c.received = len(c.planned)\n")},
		court: bench{kinds: []check.Kind{check.Order}},
	},
	{
		name: "after-not-checked", promise: "Order: the sender's, across refusals and reconnects",
		what: "`after` is not looked at",
		edits: []edit{
			refusals,
			in("transfer/sequence.go", `return im.Retry(im.OutOfOrder, 0, "the message named in after is not stored")`, "return nil"),
		},
		court: bench{kinds: []check.Kind{check.SenderOrder}},
	},
	{
		name: "stored-and-refused", promise: "Honest answers: final codes are given only by who can know",
		what: "every twentieth message is stored and answered `forbidden`",
		edits: []edit{in("transfer/sequence.go",
			"		answer(p.command.Origin, sendAck(p.event, p.repeat))",
			`		if p.event.Seq%20 == 0 {
			answer(p.command.Origin, errorReply(im.Errorf(im.Forbidden, "broken")))
			continue
		}
		answer(p.command.Origin, sendAck(p.event, p.repeat))`)},
		court: bench{kinds: []check.Kind{check.Refused}},
	},
	{
		name: "no-answer", promise: "Honest answers: nothing that waits is dropped",
		what:  "every twentieth message is never answered",
		edits: []edit{in("transfer/sequence.go", "		if p.answered {", "		if p.answered || p.event != nil && p.event.Seq%20 == 0 {")},
		court: bench{kinds: []check.Kind{check.Unanswered}},
	},
	{
		name: "cursor-falls", promise: "What only rises: a device's cursor",
		what:  "an ack moves it to the multiple of seven below",
		edits: []edit{in("transfer/ack.go", "		cursor.Seq = a.Seq\n", "		cursor.Seq = a.Seq - a.Seq%7\n")},
		court: bench{kinds: []check.Kind{check.Cursor}},
	},
	{
		name: "read-mark-falls", promise: "What only rises: `read_upto`",
		what:  "the statement takes what comes",
		edits: []edit{in("common/sqlite/marks.go", "read_upto = max(read_upto, excluded.read_upto)", "read_upto = excluded.read_upto")},
		court: model("TestModelOfOneOwner", "read_upto"),
	},
	{
		name: "has-read-turns-false", promise: "What only rises: `has_read`",
		what: "only the last message that was read has it",
		edits: []edit{in("transfer/page.go",
			"hasRead := e.ConversationSeq <= v.marks[e.ConversationID].ReadUpto",
			"hasRead := e.ConversationSeq == v.marks[e.ConversationID].ReadUpto")},
		court: model("TestModelOfOneOwner", "has_read"),
	},
	{
		name: "ids-in-another-order", promise: "What only rises: message ids of a partition",
		what:  "one bit of the time is turned",
		edits: []edit{in("transfer/sequence.go", "ID: id, ConversationID: c.ConversationId", "ID: id ^ 1<<30, ConversationID: c.ConversationId")},
		court: bench{kinds: []check.Kind{check.IDs}},
	},
	{
		name: "older-session-stays", promise: "Sessions: of two connections of one device the newer stays",
		what:  "the older one is not closed",
		edits: []edit{in("transfer/attach.go", `		if code != "" {`, `		if code != "" && false {`)},
		court: story{folder: "./test", test: "TestTheSameDeviceSupersedesItsOlderConnection", says: []string{"superseded"}},
	},
	{
		name: "stolen-token-goes-on", promise: "Sessions: a stolen refresh token ends its family",
		what:  "a replaced token is answered for ever",
		edits: []edit{in("http/refresh.go", "return token, s.reused(ctx, token)", "return token.next(), nil")},
		court: story{folder: "./http", test: "TestAnyOlderUseRevokesTheFamily", says: []string{"401"}},
	},
	{
		name: "receipts-of-a-replaced-owner", promise: "Two owners: receipts of the one that was replaced do no harm",
		what: "they are not compared",
		edits: []edit{
			in("transfer/stale.go", "p.dropped = p.dropped || receipt.Upto < last", "_ = receipt.Upto < last"),
			in("transfer/stale.go", "p.dropped = p.dropped || p.envelope.GetReceipt().Upto < issued", "_ = issued"),
		},
		court: story{folder: "./transfer", test: "TestReceiptsOfAReplacedOwnerAreDropped", says: []string{"receipts up to"}},
	},
	{
		name: "event-overwrites", promise: "Two owners: a unique insert refuses one of them",
		what:  "an event takes the place of another one",
		edits: []edit{in("common/sqlite/events.go", "const insertEvent = `INSERT INTO", "const insertEvent = `INSERT OR REPLACE INTO")},
		court: model("TestModelOfManyOwners", "identity", "loss", "seqs"),
	},
	{
		name: "block-overwrites", promise: "Two owners: a unique insert refuses one of them",
		what:  "a block takes the place of another one",
		edits: []edit{in("common/sqlite/inbox.go", `insertBlock = "INSERT INTO`, `insertBlock = "INSERT OR REPLACE INTO`)},
		court: model("TestModelOfManyOwners", "gap", "loss", "changed"),
	},
	{
		name: "repeat-not-fanned-out", promise: "No loss: its way to the inboxes, of an owner that died between",
		what:  "a repeat is answered, and goes to no inbox",
		edits: []edit{in("transfer/repeat.go", "return !s.outbox && s.server.young(e)", "return false && s.server.young(e)")},
		court: model("TestModelOfManyOwners", "loss"),
	},
	{
		name: "receipts-not-owed", promise: "What only rises: receipts, the latest always comes",
		what: "a new owner does not ask for what the former one owed",
		edits: []edit{in("transfer/issue.go",
			"\t\treturn nil\n\t})\n\treturn o\n",
			"\t\treturn nil\n\t})\n\to.marks, o.cursors = nil, nil\n\treturn o\n")},
		court: model("TestModelOfManyOwners", "receipts"),
	},
	{
		name: "hole-not-healed", promise: "Order: what a queue passes by is taken from `messages`",
		what:  "holes are not looked at",
		edits: []edit{in("transfer/heal.go", "known && 0 < hole && hole <= maxHole", "known && 0 < hole && hole < 0")},
		court: story{folder: "./transfer", test: "TestHolesAreHealed", says: []string{"FAIL"}},
	},
	{
		name: "given-up-login", promise: "Sessions: who has given up takes nobody's place",
		what:  "the kernel is not asked",
		edits: []edit{in("session/gone_linux.go", "return err == nil && is\n", "return err == nil && is && false\n")},
		court: story{folder: "./session", test: "TestAConnectionThatIsGone", says: []string{"reset: false"}},
	},
	{
		name: "member-stays", promise: "No loss, and nothing else: who is out of a group gets nothing",
		what:  "a stay does not end",
		edits: []edit{in("transfer/group.go", "{ stay.LeftSeq = e.Seq }", "{ _ = stay.LeftSeq }")},
		court: bench{kinds: []check.Kind{check.Phantom}},
	},
	{
		name: "ways-of-a-former-group", promise: "No loss: who is in a group at an event's seq gets it",
		what:  "the ways to the inboxes stay those of the members before",
		edits: []edit{in("transfer/group.go", "c.changed, c.routes = made.conversation.AppliedSeq, nil", "c.changed = made.conversation.AppliedSeq")},
		court: bench{kinds: []check.Kind{check.Loss}},
	},
	{
		name: "receipt-ahead", promise: "What only rises: a receipt says no more than a device of its reader was delivered",
		what:  "a delivered receipt counts one message too many",
		edits: []edit{in("transfer/delivered.go", "Upto: a.conversationSeq, AtMs", "Upto: a.conversationSeq + 1, AtMs")},
		court: bench{kinds: []check.Kind{check.Receipt}},
	},
	{
		name: "change-not-projected", promise: "Messages that change: who reads one after its change reads it changed",
		what: "what has become of messages is not written",
		edits: []edit{in("transfer/altered.go",
			"	if len(states) == 0 {\n\t\treturn nil\n\t}\n\tif err := s.store",
			"	if len(states) >= 0 {\n\t\treturn nil\n\t}\n\tif err := s.store")},
		court: bench{kinds: []check.Kind{check.Alter}},
	},
	{
		name: "version-left-out", promise: "Messages that change: versions rise one by one",
		what:  "an edit makes the version after the next",
		edits: []edit{in("transfer/alteration.go", "editVersion, int64(version)+1)", "editVersion, int64(version)+2)")},
		court: bench{kinds: []check.Kind{check.Alter}},
	},
}
