package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// A block is an event of the direct conversation of two users, so that it has its place
// among their messages, and an owner who does not know of it can store nothing behind
// it. It goes to the inbox of who blocks alone.

// blockCommand turns a user's wish to take no more messages of another one, or to take
// them again, into a command.
func (s *Server) blockCommand(p *imv1.Publish, encoded []byte) (*imv1.Command, error) {
	var block imv1.Block
	if err := block.UnmarshalVT(encoded); err != nil {
		return nil, im.Errorf(im.Invalid, "the body is no Block")
	}
	id, err := clientID(p, block.ClientId)
	if err != nil {
		return nil, err
	}
	if !im.ValidID(block.UserId) || block.UserId == p.UserId {
		return nil, im.Errorf(im.Invalid, "user_id must name another user")
	}
	action := im.ContactUnblocked
	if block.Blocked {
		action = im.ContactBlocked
	}
	c := &imv1.Command{
		UserId: p.UserId, DeviceId: p.DeviceId, ClientId: id, Kind: string(im.KindContact),
		ConversationType: string(im.Direct), ConversationId: im.DirectConversation(p.UserId, block.UserId), PeerId: block.UserId,
		AcceptedAtMs: s.now().UnixMilli(), NoUnread: true, NoPush: true, B3: p.B3,
	}
	if c.Body, err = (&imv1.Contact{UserId: block.UserId, Action: string(action)}).MarshalVT(); err != nil {
		return nil, fmt.Errorf("encode a block: %w", err)
	}
	sum := sha256.Sum256(c.Body)
	c.Hash = binary.BigEndian.Uint64(sum[:8])
	return c, nil
}

// judgeBlock judges a block by the conversation as it is now.
func (c *conversation) judgeBlock(cmd *imv1.Command) error {
	var block imv1.Contact
	if err := block.UnmarshalVT(cmd.Body); err != nil {
		return im.Errorf(im.Invalid, "the block can not be decoded")
	}
	_, own := c.member(cmd.UserId)
	peer, ok := c.member(block.UserId)
	switch {
	case !c.Exists || !own || !ok:
		return im.Errorf(im.NotFound, "no such user")
	case peer.Blocked == (block.Action == string(im.ContactBlocked)):
		return errNothingToDo
	}
	return nil
}

// blockEffect works out what a block makes of its conversation.
func (c *conversation) blockEffect(e *im.Event) (*effect, error) {
	var block imv1.Contact
	if err := block.UnmarshalVT(e.Body); err != nil {
		return nil, fmt.Errorf("decode the block %d of %s: %w", e.Seq, e.ConversationID, err)
	}
	made := &effect{conversation: c.Conversation, settings: c.settings}
	made.conversation.AppliedSeq, made.conversation.LastSeq, made.conversation.LastAtMs = e.Seq, e.Seq, e.AtMs
	if peer, ok := c.member(block.UserId); ok {
		peer.Blocked, peer.Seq = block.Action == string(im.ContactBlocked), e.Seq
		made.members = []im.Member{peer}
	}
	return made, nil
}

func isBlock(kind string) bool { return kind == string(im.KindContact) }
