package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// changeCommand turns what a user wants to be done to a group into a command, and
// judges what that alone decides.
func (s *Server) changeCommand(p *imv1.Publish, encoded []byte) (*imv1.Command, error) {
	var change imv1.GroupChange
	if err := change.UnmarshalVT(encoded); err != nil {
		return nil, im.Errorf(im.Invalid, "the body is no GroupChange")
	}
	clientID, err := clientID(p, change.ClientId)
	if err != nil {
		return nil, err
	}
	if !im.ValidID(change.GroupId) {
		return nil, im.Errorf(im.Invalid, "group_id must be 1 to %d bytes", im.MaxIDBytes)
	}
	wanted := change.Membership
	if err := validateChange(wanted); err != nil {
		return nil, err
	}
	c := &imv1.Command{
		UserId: p.UserId, DeviceId: p.DeviceId, ClientId: clientID, Kind: string(im.KindMembership),
		ConversationType: string(im.Group), ConversationId: im.GroupConversation(change.GroupId), GroupId: change.GroupId,
		AcceptedAtMs: s.now().UnixMilli(), NoUnread: true, B3: p.B3,
	}
	c.Body, err = proto.MarshalOptions{Deterministic: true}.Marshal(&imv1.Membership{
		Action: wanted.Action, UserIds: wanted.UserIds, Data: wanted.Data,
	})
	if err != nil {
		return nil, im.Errorf(im.Invalid, "the change can not be encoded")
	}
	sum := sha256.Sum256(c.Body)
	c.Hash = binary.BigEndian.Uint64(sum[:8])
	return c, nil
}

// clientID is the client's own id of a request, or a new one where it may leave
// that out.
func clientID(p *imv1.Publish, own string) (string, error) {
	if own == "" && p.StampClientId {
		id, err := uuid.NewV7()
		return id.String(), err
	}
	if !im.ValidClientID(own) {
		return "", im.Errorf(im.Invalid, "client_msg_id must be 1 to %d bytes of text", im.MaxClientIDBytes)
	}
	return own, nil
}

// oneUser are the actions that concern one user each.
var oneUser = []im.Action{im.ActionRemoved, im.ActionRole, im.ActionMuted, im.ActionOwner, im.ActionAccepted, im.ActionRefused}

// validateChange judges a change by itself. It sorts its users and drops doubles.
func validateChange(wanted *imv1.Membership) error {
	action := im.Action(wanted.GetAction())
	slices.Sort(wanted.GetUserIds())
	if wanted != nil {
		wanted.UserIds = slices.Compact(wanted.UserIds)
	}
	users := wanted.GetUserIds()
	if len(users) > im.MaxGroupMembers {
		return im.Errorf(im.TooLarge, "a group has at most %d members", im.MaxGroupMembers)
	}
	if slices.ContainsFunc(users, func(id string) bool { return !im.ValidID(id) }) {
		return im.Errorf(im.Invalid, "user ids have 1 to %d bytes", im.MaxIDBytes)
	}
	switch {
	case slices.Contains(oneUser, action) && len(users) != 1:
		return im.Errorf(im.Invalid, "%s concerns one user", action)
	case action == im.ActionJoined && len(users) == 0:
		return im.Errorf(im.Invalid, "user_ids must name who joins")
	}
	switch action {
	case im.ActionCreated, im.ActionChanged:
		return validateSettings(action, wanted.Data)
	case im.ActionRole:
		if role := text(wanted.Data, dataRole); role != string(im.RoleAdmin) && role != string(im.RoleMember) {
			return im.Errorf(im.Invalid, "role must be admin or member")
		}
	case im.ActionMuted:
		until, ok := milliseconds(wanted.Data, dataMutedUntil)
		if !ok {
			return im.Errorf(im.Invalid, "muted_until_ms must be a time, or 0")
		}
		return notSeconds(dataMutedUntil, until)
	case im.ActionRequested:
		return shortText("text", text(wanted.Data, dataText), im.MaxRequestTextBytes)
	case im.ActionJoined, im.ActionLeft, im.ActionRemoved, im.ActionOwner, im.ActionDissolved, im.ActionAccepted, im.ActionRefused:
	default:
		return im.Errorf(im.Invalid, "unknown action")
	}
	return nil
}

// validateSettings judges the settings of a group that are to be set.
func validateSettings(action im.Action, data *structpb.Struct) error {
	if action == im.ActionChanged && len(data.GetFields()) == 0 {
		return im.Errorf(im.Invalid, "nothing is to be changed")
	}
	for key, value := range data.GetFields() {
		_, isText := value.Kind.(*structpb.Value_StringValue)
		_, isBool := value.Kind.(*structpb.Value_BoolValue)
		if known := slices.Contains(settingKeys, key); !known || isBool != (key == dataMuteAll) || isText == isBool {
			return im.Errorf(im.Invalid, "%q is no setting of a group, or of another type", key)
		}
	}
	if name, given := data.GetFields()[dataName]; (given || action == im.ActionCreated) && name.GetStringValue() == "" {
		return im.Errorf(im.Invalid, "a group's name is not empty")
	}
	if err := shortText(dataName, text(data, dataName), im.MaxGroupNameBytes); err != nil {
		return err
	}
	if err := shortText(dataAnnouncement, text(data, dataAnnouncement), im.MaxAnnouncementBytes); err != nil {
		return err
	}
	if file := text(data, dataAvatar); file != "" && !im.ValidID(file) {
		return im.Errorf(im.Invalid, "avatar_file_id has at most %d bytes", im.MaxIDBytes)
	}
	if history := text(data, dataHistory); history != "" && history != im.HistoryAll && history != im.HistoryJoined {
		return im.Errorf(im.Invalid, "history must be joined or all")
	}
	switch text(data, dataJoin) {
	case "", im.JoinInvite, im.JoinRequest, im.JoinOpen, im.JoinClosed:
		return nil
	}
	return im.Errorf(im.Invalid, "join must be invite, request, open or closed")
}

// notSeconds refuses a time that would be long over, as one in seconds is.
func notSeconds(name string, ms int64) error {
	const year2001 = 1_000_000_000_000
	if ms > 0 && ms < year2001 {
		return im.Errorf(im.Invalid, "%s counts milliseconds since 1970: %d is long over", name, ms)
	}
	return nil
}

func shortText(name, value string, limit int) error {
	if len(value) > limit {
		return im.Errorf(im.TooLarge, "%s has at most %d bytes", name, limit)
	}
	if !utf8.ValidString(value) {
		return im.Errorf(im.Invalid, "%s must be UTF-8", name)
	}
	return nil
}
