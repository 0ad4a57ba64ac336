package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/content"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// alterations are the kinds of events that change a message.
var alterations = []im.Kind{im.KindRecall, im.KindEdit, im.KindReaction}

// alters reports whether a command changes a message.
func (p *pending) alters() bool { return p.command.TargetId != 0 }

// alterCommand turns what a user wants to be done to a message into a command, and
// judges what that alone decides.
func (s *Server) alterCommand(p *imv1.Publish, encoded []byte) (*imv1.Command, error) {
	var change imv1.MessageChange
	if err := change.UnmarshalVT(encoded); err != nil {
		return nil, im.Errorf(im.Invalid, "the body is no MessageChange")
	}
	clientID, err := clientID(p, change.ClientId)
	if err != nil {
		return nil, err
	}
	kind, ok := im.ConversationTypeOf(change.ConversationId)
	if !ok || change.MessageId <= 0 {
		return nil, errNoMessage
	}
	c := &imv1.Command{
		UserId: p.UserId, DeviceId: p.DeviceId, ClientId: clientID, Kind: change.Kind, TargetId: change.MessageId,
		ConversationType: string(kind), ConversationId: change.ConversationId,
		AcceptedAtMs: s.now().UnixMilli(), NoUnread: true, B3: p.B3,
	}
	if err := alterationBody(c, &change); err != nil {
		return nil, err
	}
	c.Hash = alterationHash(c)
	return c, nil
}

// alterationBody judges what a change says, and encodes it.
func alterationBody(c *imv1.Command, change *imv1.MessageChange) (err error) {
	var said proto.Message
	switch kind := im.Kind(change.Kind); {
	case !slices.Contains(alterations, kind):
		return im.Errorf(im.Invalid, "unknown change of a message")
	case kind == im.KindRecall:
		return nil
	case kind == im.KindEdit:
		if change.IfVersion < 0 {
			return im.Errorf(im.Invalid, "if_version must not be negative")
		}
		if err := content.Validate(change.Content, nil); err != nil {
			return err
		}
		c.IfVersion, said = change.IfVersion, &imv1.Edit{Content: change.Content}
		refer(c, change.Content)
	case kind == im.KindReaction:
		if !im.ValidEmoji(change.Emoji) {
			return im.Errorf(im.Invalid, "a reaction is one emoji")
		}
		said = &imv1.Reaction{Emoji: change.Emoji, Removed: change.Removed}
	}
	if c.Body, err = (proto.MarshalOptions{Deterministic: true}).Marshal(said); err != nil {
		return im.Errorf(im.Invalid, "the change can not be encoded")
	}
	return nil
}

// alterationHash is of all that makes a change the same one again. The version that an
// edit is of is as little compared as the after of a message.
func alterationHash(c *imv1.Command) uint64 {
	sum := sha256.Sum256(append(appendInt([]byte(c.Kind), recallMessageID, c.TargetId), c.Body...))
	return binary.BigEndian.Uint64(sum[:8])
}

// refer notes which others a content names: those the sequencer looks up.
func refer(c *imv1.Command, content *imv1.Content) {
	c.Mentions, c.ReplyTo, c.ForwardedFrom = content.Mentions, content.ReplyTo, content.ForwardedFrom
	c.ThreadId = content.ThreadId
}
