package transfer

import (
	"slices"
	"unicode/utf8"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// ownCommand turns what a user wants of what is theirs alone into a command, and judges
// what that alone decides.
func (s *Server) ownCommand(p *imv1.Publish, encoded []byte) (*imv1.OwnCommand, error) {
	change := &imv1.OwnChange{}
	if err := change.UnmarshalVT(encoded); err != nil {
		return nil, im.Errorf(im.Invalid, "the body is no OwnChange")
	}
	id, err := clientID(p, change.ClientId)
	if err != nil {
		return nil, err
	}
	if err := validateOwn(p.UserId, change); err != nil {
		return nil, err
	}
	change.ClientId = id
	return &imv1.OwnCommand{UserId: p.UserId, DeviceId: p.DeviceId, Change: change, AtMs: s.now().UnixMilli()}, nil
}

func validateOwn(userID string, change *imv1.OwnChange) error {
	switch what := change.What.(type) {
	case *imv1.OwnChange_Delete:
		return validateDelete(what.Delete)
	case *imv1.OwnChange_View:
		return validateView(what.View)
	case *imv1.OwnChange_Contact:
		return validateContact(userID, what.Contact)
	case *imv1.OwnChange_Profile:
		return validateProfile(what.Profile)
	}
	return im.Errorf(im.Invalid, "unknown change")
}

func validateDelete(d *imv1.DeleteForMe) error {
	if len(d.GetMessages()) == 0 {
		return im.Errorf(im.Invalid, "message_ids must name what is deleted")
	}
	if len(d.Messages) > im.MaxDeleteMessages {
		return im.Errorf(im.TooLarge, "at most %d messages are deleted at once", im.MaxDeleteMessages)
	}
	if slices.ContainsFunc(d.Messages, func(m *imv1.MessagePlace) bool { return !isConversation(m.ConversationId) || m.ConversationSeq <= 0 }) {
		return im.Errorf(im.Invalid, "a message has a conversation and a seq")
	}
	return nil
}

func isConversation(id string) bool {
	_, ok := im.ConversationTypeOf(id)
	return ok
}

func validateView(v *imv1.ViewChange) error {
	switch {
	case !isConversation(v.GetConversationId()):
		return errNoConversation
	case v.ClearedUpto < 0:
		return im.Errorf(im.Invalid, "cleared_upto must not be negative")
	case v.Muted == nil && v.Pinned == nil && v.Hidden == nil && v.Unread == nil && v.ClearedUpto == 0:
		return im.Errorf(im.Invalid, "nothing is to be changed")
	}
	return nil
}

// The actions of a ContactChange.
const (
	contactRequest = "request"
	contactAccept  = "accept"
	contactRefuse  = "refuse"
	contactRemove  = "remove"
	contactRemark  = "remark"
)

func validateContact(userID string, c *imv1.ContactChange) error {
	switch {
	case !im.ValidID(c.GetUserId()):
		return im.Errorf(im.Invalid, "user_id must be 1 to %d bytes", im.MaxIDBytes)
	case c.UserId == userID:
		return im.Errorf(im.Invalid, "nobody is a contact of themselves")
	case !slices.Contains([]string{contactRequest, contactAccept, contactRefuse, contactRemove, contactRemark}, c.Action):
		return im.Errorf(im.Invalid, "unknown action")
	}
	if err := shortText("remark", c.Remark, im.MaxRemarkBytes); err != nil {
		return err
	}
	return shortText("text", c.Text, im.MaxRequestTextBytes)
}

func validateProfile(p *imv1.ProfileChange) error {
	if p == nil || p.Nickname == nil && p.AvatarFileId == nil && p.Bio == nil {
		return im.Errorf(im.Invalid, "nothing is to be changed")
	}
	if len(p.GetNickname()) > im.MaxNicknameBytes || !utf8.ValidString(p.GetNickname()) {
		return im.Errorf(im.Invalid, "a nickname has at most %d bytes", im.MaxNicknameBytes)
	}
	if file := p.GetAvatarFileId(); file != "" && !im.ValidID(file) {
		return im.Errorf(im.Invalid, "avatar_file_id has at most %d bytes", im.MaxIDBytes)
	}
	return shortText("bio", p.GetBio(), im.MaxBioBytes)
}
