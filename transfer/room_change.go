package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// acceptVouched takes a request of which its server knows more than it says.
func (s *Server) acceptVouched(p *imv1.Publish, origin *imv1.Origin, vouched *imv1.Vouched, commands *batches) error {
	switch what := vouched.What.(type) {
	case *imv1.Vouched_Send:
		command, err := s.command(p, what.Send)
		if err != nil {
			return err
		}
		command.Joined, command.ByService = vouched.Joined, vouched.ByService
		return s.acceptCommand(command, origin, commands)
	case *imv1.Vouched_Signal:
		return s.acceptSignal(p, origin, what.Signal, vouched.Joined)
	}
	return im.Errorf(im.Invalid, "unknown request")
}

// roomCommand turns what is to be done to a room into a command, and judges what that
// alone decides.
func (s *Server) roomCommand(p *imv1.Publish, encoded []byte) (*imv1.Command, error) {
	var change imv1.RoomChange
	if err := change.UnmarshalVT(encoded); err != nil {
		return nil, im.Errorf(im.Invalid, "the body is no RoomChange")
	}
	clientID, err := clientID(p, change.ClientId)
	if err != nil {
		return nil, err
	}
	if !im.ValidID(change.RoomId) {
		return nil, im.Errorf(im.Invalid, "room_id has 1 to %d bytes and no control characters", im.MaxIDBytes)
	}
	wanted := change.Membership
	if err := validateRoomChange(wanted); err != nil {
		return nil, err
	}
	c := &imv1.Command{
		UserId: p.UserId, DeviceId: p.DeviceId, ClientId: clientID, Kind: string(im.KindMembership),
		ConversationType: string(im.Room), ConversationId: im.RoomConversation(change.RoomId), RoomId: change.RoomId,
		AcceptedAtMs: s.now().UnixMilli(), NoUnread: true, B3: p.B3, ByService: change.ByService,
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

// validateRoomChange judges a change of a room by itself.
func validateRoomChange(wanted *imv1.Membership) error {
	users, action := wanted.GetUserIds(), im.Action(wanted.GetAction())
	if slices.ContainsFunc(users, func(id string) bool { return !im.ValidID(id) }) {
		return im.Errorf(im.Invalid, "user ids have 1 to %d bytes", im.MaxIDBytes)
	}
	switch action {
	case im.ActionMuted:
		return oneUserUntil(wanted, dataMutedUntil)
	case im.ActionRemoved:
		return oneUserUntil(wanted, dataBannedUntil)
	case im.ActionChanged:
		if len(users) > 0 {
			return oneUserUntil(wanted, dataBannedUntil)
		}
		return validateRoomSettings(action, wanted.Data)
	case im.ActionCreated:
		return validateRoomSettings(action, wanted.Data)
	case im.ActionDissolved:
		return nil
	}
	return im.Errorf(im.Invalid, "a room knows no such change")
}

func oneUserUntil(wanted *imv1.Membership, key string) error {
	until, ok := milliseconds(wanted.Data, key)
	switch {
	case len(wanted.UserIds) != 1 || len(wanted.Data.Fields) != 1:
		return im.Errorf(im.Invalid, "%s concerns one user, until a time", wanted.Action)
	case !ok:
		return im.Errorf(im.Invalid, "%s must be a time, or 0", key)
	}
	return notSeconds(key, until)
}

func validateRoomSettings(action im.Action, data *structpb.Struct) error {
	if len(data.GetFields()) == 0 {
		return im.Errorf(im.Invalid, "nothing is to be set")
	}
	for key, value := range data.GetFields() {
		_, isText := value.Kind.(*structpb.Value_StringValue)
		_, isBool := value.Kind.(*structpb.Value_BoolValue)
		if (key != dataName || !isText) && (key != dataMuteAll || !isBool) {
			return im.Errorf(im.Invalid, "%q is no setting of a room, or of another type", key)
		}
	}
	if name, given := data.Fields[dataName]; (given || action == im.ActionCreated) && name.GetStringValue() == "" {
		return im.Errorf(im.Invalid, "a room's name is not empty")
	}
	return shortText(dataName, text(data, dataName), im.MaxRoomNameBytes)
}
