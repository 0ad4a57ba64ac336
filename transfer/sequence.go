package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// sequencer is the owner of one conversation partition. One goroutine runs it and
// owns all of its state; one store write is in flight at a time.
type sequencer struct {
	server        *Server
	store         Store
	log           *slog.Logger
	partition     int
	term          *term
	conversations map[string]*conversation
	members       int // about how many members those have
	recent        *recents
	hints         *hints
	rooms         *rooms
	spoken        []*im.Event // in rooms, stored and not pushed yet
	outbox        bool
	kept          []im.Pack    // of the batch in hand: in the outbox, not in unsent yet
	unsent        *publication // of the batch in hand
	trace         *batchTrace  // of the batch in hand; nil: nothing in it is traced

	targets map[im.MessageRef]*target   // messages that the batch in hand changes or names; without a conversation: of any
	views   map[*target]im.MessageState // what the changes that are planned will make of them
}

// pending is a command on its way through the batch, with what becomes of it.
type pending struct {
	command      *imv1.Command
	key          im.ClientKey
	conversation *conversation   // nil: there is none, and none can be made
	exists       map[string]bool // of a change: which of its users there are
	body         []byte          // of a change: what was made of it
	target       *target         // of a change of a message: which
	effect       *effect         // of a change that is planned, or stored and no repeat
	stays        []im.Member     // of a repeat in a group: those that hold its event
	event        *im.Event       // planned or stored
	made         im.Event        // what a planned one is
	stored       bool            // the event is in the store
	repeat       bool            // ... and was before this command
	fanout       bool            // the event must (again) go to the inboxes
	refusal      error
	afterOK      bool // the predecessor is known to be stored
	looked       bool // the store has been asked for key and after
	waits        bool // for the first command of its key, or for a change, earlier in this batch
	answered     bool
}

func (p *pending) settled() bool { return p.stored || p.refusal != nil }

// run owns the partition until ctx ends or the consumer is lost. It returns
// errForeign when another owner was seen.
func (s *sequencer) run(ctx context.Context, consumer Consumer) error {
	commands := &intake{consumer: consumer, items: s.server.config.Prefetch, bytes: maxSequenceBytes}
	for {
		deliveries, err := commands.next(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		s.forgetConversations()
		// The batch in hand is finished even when the server stops meanwhile, but
		// not waited for without end when the store is away.
		batch, err := s.decode(ctx, deliveries)
		if err != nil {
			return err
		}
		im.CrashPoint(im.CrashCommandsReceived)
		s.trace, s.targets = s.traceBatch(batch), nil
		if err := s.server.persist(ctx, s.log, func(c context.Context) error { return s.process(c, batch) }); err != nil {
			s.trace.sequenced(batch, err)
			return err
		}
		s.server.replays.carriedOut(deliveries)
		im.CrashPoint(im.CrashSendersAnswered)
		if err := consumer.Ack(deliveries[len(deliveries)-1].Tag); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
}

// decode opens the packs. What can not be decoded goes to the quarantine.
func (s *sequencer) decode(ctx context.Context, deliveries []im.Delivery) ([]*pending, error) {
	commands := make([]*imv1.Command, 0, len(deliveries))
	for _, d := range deliveries {
		more, err := decodeCommands(d.Body)
		if err != nil {
			if err := s.server.quarantine(ctx, TopicConversation, s.partition, d.Body, err); err != nil {
				return nil, err
			}
			continue
		}
		commands = append(commands, more...)
	}
	all := make([]pending, len(commands))
	batch := make([]*pending, len(commands))
	for i, c := range commands {
		batch[i] = &all[i]
		batch[i].command = c
		batch[i].key = im.ClientKey{
			ConversationID: c.ConversationId, SenderID: c.UserId, DeviceID: c.DeviceId, ClientID: c.ClientId,
		}
	}
	return batch, nil
}

func decodeCommands(body []byte) ([]*imv1.Command, error) {
	pack := &imv1.CommandPack{}
	if err := pack.UnmarshalVT(body); err != nil {
		return nil, fmt.Errorf("decode a pack: %w", err)
	}
	return pack.Commands, nil
}

// process takes a batch through dedupe, after, authorise, insert and fan-out. It
// may be called again with the same batch after an error: what is settled stays.
func (s *sequencer) process(ctx context.Context, batch []*pending) error {
	if len(batch) == 0 {
		return nil
	}
	if err := s.term.ensure(ctx); err != nil {
		return err
	}
	if err := s.loadConversations(ctx, batch); err != nil {
		return err
	}
	for _, p := range batch {
		p.conversation = s.conversations[p.command.ConversationId]
	}
	if err := s.loadUsers(ctx, batch); err != nil {
		return err
	}
	for {
		if err := s.project(ctx, batch); err != nil {
			return err
		}
		s.pushRooms()
		if err := s.loadTargets(ctx, batch); err != nil {
			return err
		}
		planned, err := s.plan(ctx, batch)
		if err != nil {
			return err
		}
		if len(planned) == 0 {
			break
		}
		s.trace.reach(markInserting)
		if err := s.insert(ctx, planned); err != nil {
			return err
		}
	}
	s.trace.reach(markStored)
	if err := s.deliver(ctx, batch); err != nil {
		return err
	}
	im.CrashPoint(im.CrashFannedOut)
	s.trace.sequenced(batch, nil)
	s.reply(batch)
	forgetLeft(batch)
	return nil
}

// plan judges every command that is not settled, in order, and gives a seq and an
// id to each that may become an event. Who would be refused is looked up first:
// what is stored is answered with its ids, whatever has changed since.
func (s *sequencer) plan(ctx context.Context, batch []*pending) ([]*pending, error) {
	// What was looked up and is not stored is refused now; that may make its
	// successors doubtful in their turn.
	for doubtful := s.judge(batch); len(doubtful) > 0; doubtful = s.judge(batch) {
		if err := s.lookUp(ctx, doubtful); err != nil {
			return nil, err
		}
	}
	planned := make([]*pending, 0, len(batch))
	for _, p := range batch {
		if !p.settled() && !p.waits {
			p.conversation.planned = p.conversation.Head
			planned = append(planned, p)
		}
	}
	for _, p := range planned {
		p.conversation.planned++
		if err := s.number(ctx, p, p.conversation.planned); err != nil {
			return nil, err
		}
	}
	return planned, nil
}

// judge walks the batch in order and refuses what may not be. It returns those
// that the store has not been asked about yet; they are not refused before.
func (s *sequencer) judge(batch []*pending) []*pending {
	var doubtful []*pending
	nowMs := s.server.now().UnixMilli()
	s.views = nil
	inBatch := make(map[im.ClientKey]*pending, len(batch))
	var changing map[*conversation]bool // by a change that is planned: what follows is judged when it is stored
	for _, p := range batch {
		first := inBatch[p.key]
		if first == nil || first.refusal != nil {
			first, inBatch[p.key] = nil, p
		}
		if p.settled() {
			continue
		}
		if first != nil {
			s.repeatInBatch(p, first)
			continue
		}
		p.waits = false
		if known, ok := s.recent.get(p.key); ok {
			p.settle(known)
			continue
		}
		if p.waits = changing[p.conversation]; p.waits {
			continue
		}
		if p.alters() && !p.looked { // a repeat must not count among the changes that those after it are judged by
			doubtful = append(doubtful, p)
			continue
		}
		err := s.allowed(p, inBatch, nowMs)
		switch {
		case err == nil && p.isChange():
			if changing == nil {
				changing = map[*conversation]bool{}
			}
			changing[p.conversation] = true
		case err == nil:
		case p.looked:
			p.refusal = err
		default:
			doubtful = append(doubtful, p)
		}
	}
	return doubtful
}

// repeatInBatch answers a command that stands twice in one batch from its first,
// once that is stored.
func (s *sequencer) repeatInBatch(p, first *pending) {
	if p.waits = !first.stored; !p.waits {
		p.settle(*first.event)
	}
}

// settle answers a command from the stored event of its key.
func (p *pending) settle(stored im.Event) {
	p.event, p.stored, p.repeat, p.effect = &stored, true, true, nil
	if stored.Hash != p.command.Hash {
		p.stored, p.event = false, nil
		p.refusal = im.Errorf(im.Conflict, "the client_msg_id, or Idempotency-Key, was used for something else")
	}
}

// allowed judges after and authorisation.
func (s *sequencer) allowed(p *pending, inBatch map[im.ClientKey]*pending, nowMs int64) error {
	if err := s.inOrder(p, inBatch); err != nil {
		return err
	}
	if p.conversation == nil {
		return im.Errorf(im.NotFound, "no such user or conversation")
	}
	if p.isChange() {
		return p.resolve(nowMs)
	}
	if p.alters() {
		return s.alter(p, nowMs)
	}
	if err := p.conversation.authorise(p.command, nowMs); err != nil {
		return err
	}
	return s.refers(p)
}

// inOrder checks that the predecessor that a command names is stored, or comes
// earlier in this batch and is not refused.
func (s *sequencer) inOrder(p *pending, inBatch map[im.ClientKey]*pending) error {
	if p.command.After == "" || p.afterOK {
		return nil
	}
	key := p.key
	key.ClientID = p.command.After
	if before := inBatch[key]; before != nil && before != p && before.refusal == nil {
		return nil
	}
	if _, ok := s.recent.get(key); ok {
		return nil
	}
	return im.Retry(im.OutOfOrder, 0, "the message named in after is not stored")
}

// lookUp asks the store about commands and the predecessors that they name.
func (s *sequencer) lookUp(ctx context.Context, doubtful []*pending) error {
	if len(doubtful) == 0 {
		return nil
	}
	keys := make([]im.ClientKey, 0, 2*len(doubtful))
	for _, p := range doubtful {
		keys = append(keys, p.key)
		if p.command.After != "" {
			after := p.key
			after.ClientID = p.command.After
			keys = append(keys, after)
		}
	}
	events, err := s.store.EventsByKey(ctx, keys)
	if err != nil {
		return fmt.Errorf("look up client keys: %w", err)
	}
	stored := make(map[im.ClientKey]im.Event, len(events))
	for _, e := range events {
		stored[e.Key()] = e
	}
	for _, p := range doubtful {
		p.looked = true
		if e, ok := stored[p.key]; ok {
			p.settle(e)
			p.fanout = p.stored && s.fansOutAgain(&e)
			if im.IsRoom(e.ConversationID) {
				s.rooms.seen(e.ConversationID, e.Seq)
			}
		}
		after := p.key
		after.ClientID = p.command.After
		_, p.afterOK = stored[after]
	}
	return nil
}

// number makes the event of a command, or gives the one it has a new seq.
func (s *sequencer) number(ctx context.Context, p *pending, seq int64) error {
	if p.event != nil {
		p.event.Seq = seq
		if p.alters() { // judged again, behind what else was stored meanwhile
			p.event.Body = p.body
		}
		return nil
	}
	id, err := s.term.nextID(ctx)
	if err != nil {
		return err
	}
	c, nowMs := p.command, s.server.now().UnixMilli()
	p.made = im.Event{
		ID: id, ConversationID: c.ConversationId, Seq: seq, Kind: im.Kind(c.Kind),
		SenderID: c.UserId, DeviceID: c.DeviceId, ClientID: c.ClientId, Hash: c.Hash,
		AtMs: nowMs, AcceptedAtMs: c.AcceptedAtMs, TargetID: c.TargetId, ThreadID: c.ThreadId,
		Counted: !c.NoUnread, B3: c.B3, Body: c.Body, Mentions: c.Mentions,
	}
	if p.isChange() || p.alters() {
		p.made.Body, p.made.ThreadID, p.made.Mentions = p.body, 0, nil
	}
	if c.ExpiresInMs > 0 {
		p.made.ExpiresAtMs = nowMs + c.ExpiresInMs
	}
	if c.NoPush {
		p.made.Flags |= im.FlagNoPush
	}
	if c.Late {
		p.made.Flags |= im.FlagLate
	}
	p.event = &p.made
	return nil
}

// reply answers every command of the batch to where it came from, once.
func (s *sequencer) reply(batch []*pending) {
	answers := map[string][]*imv1.Reply{} // by gateway, which each get theirs at once
	answer := func(origin *imv1.Origin, reply *imv1.Reply) {
		reply.Session, reply.Request = origin.GetSession(), origin.GetRequest()
		answers[origin.GetGateway()] = append(answers[origin.GetGateway()], reply)
	}
	for _, p := range batch {
		if p.answered {
			continue
		}
		p.answered = true
		if errors.Is(p.refusal, errNothingToDo) {
			answer(p.command.Origin, doneAlready(p))
			continue
		}
		if p.refusal != nil {
			answer(p.command.Origin, errorReply(p.refusal))
			continue
		}
		answer(p.command.Origin, sendAck(p.event, p.repeat))
	}
	for id, replies := range answers {
		if g := s.server.gateway(id); g != nil {
			g.reply(replies...)
		}
	}
}

func sendAck(e *im.Event, duplicate bool) *imv1.Reply {
	var all struct { // one allocation for the three
		reply imv1.Reply
		what  imv1.Reply_SendAck
		ack   imv1.SendAck
	}
	ack := &all.ack
	ack.ClientMsgId, ack.MessageId, ack.SentAtMs, ack.Duplicate = e.ClientID, e.ID, e.AtMs, duplicate
	ack.ConversationId, ack.ConversationSeq = e.ConversationID, e.Seq
	all.what.SendAck, all.reply.What = ack, &all.what
	return &all.reply
}
