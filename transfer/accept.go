package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/content"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// retrySoon is what a refusal for want of room asks a client to wait.
const retrySoon = time.Second

// accept judges what each request's frame alone decides and publishes the rest,
// in order, one queue item per partition. What the queue does not confirm is
// answered unavailable.
func (s *Server) accept(g *gateway, publishes []*imv1.Publish) {
	if len(publishes) == 0 {
		return
	}
	began := s.now()
	var commands, reads batches
	for _, p := range publishes {
		origin := &imv1.Origin{Gateway: g.id, Session: p.Session, Request: p.Request}
		err := s.acceptOne(p, origin, &commands, &reads)
		if err != nil {
			s.answer(origin, errorReply(err))
			s.traceRefused(p, began, err)
		}
	}
	im.CrashPoint(im.CrashAccepted)
	for _, b := range commands {
		pack := &imv1.CommandPack{Commands: b.commands}
		s.publish(TopicConversation, b, pack, s.traceAccepted(TopicConversation, b, began))
	}
	for _, b := range reads {
		s.publish(TopicInbox, b, &imv1.InboxPack{Envelopes: b.envelopes}, nil)
	}
}

// batch is what goes into one queue item.
type batch struct {
	partition int
	commands  []*imv1.Command
	envelopes []*imv1.InboxEnvelope
}

// origins is all that must be remembered of a batch until it is confirmed.
func (b *batch) origins() []*imv1.Origin {
	origins := make([]*imv1.Origin, 0, len(b.commands)+len(b.envelopes))
	for _, command := range b.commands {
		origins = append(origins, command.Origin)
	}
	for _, envelope := range b.envelopes {
		if own := envelope.GetOwn(); own != nil {
			origins = append(origins, own.Origin)
			continue
		}
		origins = append(origins, envelope.GetRead().GetOrigin())
	}
	return origins
}

type batches []*batch

func (b *batches) of(partition int) *batch {
	for _, one := range *b {
		if one.partition == partition {
			return one
		}
	}
	one := &batch{partition: partition}
	*b = append(*b, one)
	return one
}

func (s *Server) acceptOne(p *imv1.Publish, origin *imv1.Origin, commands, reads *batches) error {
	switch what := p.What.(type) {
	case *imv1.Publish_Send:
		command, err := s.command(p, what.Send)
		if err != nil {
			return err
		}
		return s.acceptCommand(command, origin, commands)
	case *imv1.Publish_Read:
		read, err := readCommand(p, what.Read)
		if err != nil {
			return err
		}
		partition := im.Partition(p.UserId, s.config.InboxPartitions)
		if err := s.admit(TopicInbox, partition); err != nil {
			return err
		}
		read.Origin = origin
		b := reads.of(partition)
		b.envelopes = append(b.envelopes, &imv1.InboxEnvelope{What: &imv1.InboxEnvelope_Read{Read: read}})
	case *imv1.Publish_Block:
		command, err := s.blockCommand(p, what.Block)
		if err != nil {
			return err
		}
		return s.acceptCommand(command, origin, commands)
	case *imv1.Publish_Own:
		own, err := s.ownCommand(p, what.Own)
		if err != nil {
			return err
		}
		own.Origin = origin
		return s.acceptOwn(own, reads)
	case *imv1.Publish_Change:
		command, err := s.changeCommand(p, what.Change)
		if err != nil {
			return err
		}
		return s.acceptCommand(command, origin, commands)
	case *imv1.Publish_MessageChange:
		command, err := s.alterCommand(p, what.MessageChange)
		if err != nil {
			return err
		}
		return s.acceptCommand(command, origin, commands)
	case *imv1.Publish_Room:
		command, err := s.roomCommand(p, what.Room)
		if err != nil {
			return err
		}
		return s.acceptCommand(command, origin, commands)
	case *imv1.Publish_Vouched:
		return s.acceptVouched(p, origin, what.Vouched, commands)
	case *imv1.Publish_Signal:
		return s.acceptSignal(p, origin, what.Signal, false)
	default:
		return im.Errorf(im.Invalid, "unknown request")
	}
	return nil
}

// acceptCommand puts a command into the batch of its partition, unless its user or
// the partition has too many on their way.
func (s *Server) acceptCommand(command *imv1.Command, origin *imv1.Origin, commands *batches) error {
	partition := im.Partition(command.ConversationId, s.config.ConversationPartitions)
	if !command.ByService {
		if wait := s.limits.wait(command.UserId, s.now(), s.policy.Load()); wait > 0 {
			return im.Retry(im.RateLimited, wait, "too many messages")
		}
	}
	if err := s.admit(TopicConversation, partition); err != nil {
		return err
	}
	command.Origin = origin
	b := commands.of(partition)
	b.commands = append(b.commands, command)
	return nil
}

// acceptOwn puts a command into the batch of its user's inbox partition, as
// acceptCommand does.
func (s *Server) acceptOwn(own *imv1.OwnCommand, batches *batches) error {
	partition := im.Partition(own.UserId, s.config.InboxPartitions)
	if wait := s.limits.wait(own.UserId, s.now(), s.policy.Load()); wait > 0 {
		return im.Retry(im.RateLimited, wait, "too many requests")
	}
	if err := s.admit(TopicInbox, partition); err != nil {
		return err
	}
	b := batches.of(partition)
	b.envelopes = append(b.envelopes, &imv1.InboxEnvelope{What: &imv1.InboxEnvelope_Own{Own: own}})
	return nil
}

// admit refuses when the partition is too far behind.
func (s *Server) admit(topic string, partition int) error {
	if s.queue.Backlog(topic, partition) >= s.config.Backlog {
		return im.Retry(im.Unavailable, retrySoon, "the server is behind")
	}
	return nil
}

type marshaler interface{ MarshalVT() ([]byte, error) }

func (s *Server) publish(topic string, b *batch, pack marshaler, trace *acceptTrace) {
	origins := b.origins()
	refuse := func(err error) {
		for _, origin := range origins {
			s.answer(origin, errorReply(err))
		}
	}
	body, err := pack.MarshalVT()
	if err != nil {
		s.log.Error("encode a queue item", "topic", topic, "error", err)
		refuse(err)
		return
	}
	s.queue.Publish(topic, b.partition, []im.Pack{{Partition: b.partition, Body: body, B3: trace.b3()}}, func(err error) {
		trace.confirmed(err)
		im.CrashPoint(im.CrashConfirmed)
		if err != nil {
			refuse(im.Retry(im.Unavailable, retrySoon, "the queue did not confirm"))
		}
	})
	im.CrashPoint(im.CrashPublished)
}

// command turns a client's send into a command.
func (s *Server) command(p *imv1.Publish, encoded []byte) (*imv1.Command, error) {
	var send imv1.Send
	if err := send.UnmarshalVT(encoded); err != nil {
		return nil, im.Errorf(im.Invalid, "the body is no Send")
	}
	id, err := clientID(p, send.ClientMsgId)
	if err != nil {
		return nil, err
	}
	if len(send.After) > im.MaxClientIDBytes {
		return nil, im.Errorf(im.Invalid, "after must be at most %d bytes", im.MaxClientIDBytes)
	}
	c := &imv1.Command{
		UserId: p.UserId, DeviceId: p.DeviceId, ClientId: id, After: send.After,
		Kind: string(im.KindMessage), AcceptedAtMs: s.now().UnixMilli(), B3: send.B3,
		NoUnread: send.Options.GetNoUnread(), NoPush: send.Options.GetNoPush(),
		ExpiresInMs: int64(send.Options.GetExpiresIn()) * 1000,
	}
	if _, ok := im.ParseTrace(send.B3); !ok {
		return nil, im.Errorf(im.Invalid, "b3 is no B3 single header")
	}
	if p.B3 != "" { // the gateway has joined it already
		c.B3 = p.B3
	}
	if c.ExpiresInMs < 0 {
		return nil, im.Errorf(im.Invalid, "expires_in must not be negative")
	}
	if err := address(c, send.To); err != nil {
		return nil, err
	}
	if err := content.Validate(send.Content, send.Attributes); err != nil {
		return nil, err
	}
	refer(c, send.Content)
	return c, encodeBody(c, send.Content, send.Attributes)
}

// address finds the conversation, and so the partition, without a look-up.
func address(c *imv1.Command, to *imv1.To) error {
	valid := func(id string) error {
		if !im.ValidID(id) {
			return im.Errorf(im.Invalid, "to must name an id of 1 to %d bytes", im.MaxIDBytes)
		}
		return nil
	}
	switch to := to.GetTo().(type) {
	case *imv1.To_UserId:
		c.ConversationType, c.PeerId = string(im.Direct), to.UserId
		c.ConversationId = im.DirectConversation(c.UserId, to.UserId)
		return valid(to.UserId)
	case *imv1.To_GroupId:
		c.ConversationType, c.ConversationId = string(im.Group), im.GroupConversation(to.GroupId)
		return valid(to.GroupId)
	case *imv1.To_RoomId:
		c.ConversationType, c.ConversationId = string(im.Room), im.RoomConversation(to.RoomId)
		return valid(to.RoomId)
	case *imv1.To_ConversationId:
		kind, ok := im.ConversationTypeOf(to.ConversationId)
		c.ConversationType, c.ConversationId = string(kind), to.ConversationId
		if !ok {
			return im.Errorf(im.NotFound, "no such conversation")
		}
		return nil
	}
	return im.Errorf(im.Invalid, "to must name a user, group, room or conversation")
}

// encodeBody fills in the body as it is stored and its hash. The encoding is
// canonical, for only equal hashes make a repeat.
func encodeBody(c *imv1.Command, content *imv1.Content, attributes map[string]string) error {
	var err error
	if content.Data == nil && len(attributes) < 2 {
		message := imv1.Message{Content: content, Attributes: attributes}
		c.Body, err = message.MarshalVT()
	} else {
		message := &imv1.Message{Content: content, Attributes: attributes}
		c.Body, err = proto.MarshalOptions{Deterministic: true}.Marshal(message)
	}
	if err != nil {
		return im.Errorf(im.Invalid, "content can not be encoded")
	}
	sum := sha256.Sum256(c.Body)
	c.Hash = binary.BigEndian.Uint64(sum[:8])
	return nil
}

func readCommand(p *imv1.Publish, encoded []byte) (*imv1.ReadCommand, error) {
	var read imv1.Read
	if err := read.UnmarshalVT(encoded); err != nil {
		return nil, im.Errorf(im.Invalid, "the body is no Read")
	}
	if _, ok := im.ConversationTypeOf(read.ConversationId); !ok {
		return nil, im.Errorf(im.NotFound, "no such conversation")
	}
	if read.Upto < 0 {
		return nil, im.Errorf(im.Invalid, "upto must not be negative")
	}
	return &imv1.ReadCommand{
		UserId: p.UserId, DeviceId: p.DeviceId, ConversationId: read.ConversationId, Upto: read.Upto,
	}, nil
}
