package transfer

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// The keys of a room's membership data that groups do not have.
const (
	dataRoomID      = "room_id"
	dataBannedUntil = "banned_until_ms"
)

// roomOf returns what a room is, with the changes that are not projected yet.
func roomOf(state *im.ConversationState) (*conversation, []*effect, error) {
	c := &conversation{ConversationState: *state, kind: string(im.Room), room: &imv1.RoomSettings{}}
	if err := c.room.UnmarshalVT(c.Settings); err != nil {
		return nil, nil, fmt.Errorf("decode the settings of %s: %w", c.ID, err)
	}
	effects, err := c.applyChanges()
	return c, effects, err
}

// errNoRoom is to who looks for a room that is not, or no longer, there.
var errNoRoom = im.Errorf(im.NotFound, "no such room")

// openTo returns nil where a room is to be had by a user, the operator where that is empty.
func (c *conversation) openTo(userID string, nowMs int64) error {
	switch {
	case !c.Exists || c.room.Dissolved:
		return errNoRoom
	case restricted(c.room.Banned, userID, nowMs):
		return im.Errorf(im.Forbidden, "banned from the room")
	}
	return nil
}

// shownTo is openTo for who reads a room. A gateway, which names no user, reads one that
// is dissolved too: by its last event those leave who are in it.
func (c *conversation) shownTo(userID string, nowMs int64) error {
	if userID == "" && c.Exists {
		return nil
	}
	return c.openTo(userID, nowMs)
}

// speaks judges whether a user may be heard in a room.
func (c *conversation) speaks(userID string, joined bool, nowMs int64) error {
	if err := c.openTo(userID, nowMs); err != nil {
		return err
	}
	switch {
	case !joined:
		return im.Errorf(im.Forbidden, "a room is sent to by a session that has joined it")
	case restricted(c.room.Muted, userID, nowMs), c.room.MuteAll && userID != c.room.OwnerId:
		return im.Errorf(im.Forbidden, "muted")
	}
	return nil
}

func restricted(list []*imv1.RoomRestriction, userID string, nowMs int64) bool {
	return until(list, userID) > nowMs
}

// until is when a user's restriction ends, 0 where there is none.
func until(list []*imv1.RoomRestriction, userID string) int64 {
	if at := slices.IndexFunc(list, func(r *imv1.RoomRestriction) bool { return r.UserId == userID }); at >= 0 {
		return list[at].UntilMs
	}
	return 0
}

// restrict returns a list with another end for a user, without what is over.
func restrict(list []*imv1.RoomRestriction, userID string, untilMs, nowMs int64) []*imv1.RoomRestriction {
	list = slices.DeleteFunc(list, func(r *imv1.RoomRestriction) bool { return r.UserId == userID || r.UntilMs <= nowMs })
	if untilMs > nowMs {
		list = append(list, &imv1.RoomRestriction{UserId: userID, UntilMs: untilMs})
	}
	return list
}

// resolveRoom judges a change of a room and makes the membership event of it. A room
// belongs to the user who made it; the operator is above every owner.
func (c *conversation) resolveRoom(cmd *imv1.Command, exists map[string]bool, nowMs int64) (*imv1.Membership, error) {
	wanted := &imv1.Membership{}
	if err := proto.Unmarshal(cmd.Body, wanted); err != nil {
		return nil, im.Errorf(im.Invalid, "the change can not be decoded")
	}
	wanted.By = cmd.UserId
	if im.Action(wanted.Action) == im.ActionCreated {
		return wanted, c.createRoom(cmd.RoomId, wanted)
	}
	if !c.Exists || c.room.Dissolved {
		return nil, errNoRoom
	}
	if !cmd.ByService && (c.room.OwnerId == "" || cmd.UserId != c.room.OwnerId) {
		return nil, im.Errorf(im.Forbidden, "that is for the owner of the room")
	}
	switch im.Action(wanted.Action) {
	case im.ActionChanged:
		if len(wanted.UserIds) == 1 {
			return wanted, c.restrictUser(wanted, c.room.Banned, dataBannedUntil, exists, nowMs)
		}
		return wanted, c.configureRoom(wanted)
	case im.ActionMuted:
		return wanted, c.restrictUser(wanted, c.room.Muted, dataMutedUntil, exists, nowMs)
	case im.ActionRemoved:
		return wanted, c.restrictUser(wanted, c.room.Banned, dataBannedUntil, exists, nowMs)
	case im.ActionDissolved:
		return wanted, nil
	}
	return nil, im.Errorf(im.Invalid, "a room knows no such change")
}

func (c *conversation) createRoom(roomID string, wanted *imv1.Membership) error {
	if c.Exists {
		return im.Errorf(im.Conflict, "the room exists")
	}
	wanted.Data.Fields[dataRoomID] = structpb.NewStringValue(roomID)
	return nil
}

// configureRoom leaves out what is set so already.
func (c *conversation) configureRoom(wanted *imv1.Membership) error {
	fields := wanted.Data.GetFields()
	if value, given := fields[dataName]; given && value.GetStringValue() == c.room.Name {
		delete(fields, dataName)
	}
	if value, given := fields[dataMuteAll]; given && value.GetBoolValue() == c.room.MuteAll {
		delete(fields, dataMuteAll)
	}
	if len(fields) == 0 {
		return errNothingToDo
	}
	return nil
}

func (c *conversation) restrictUser(wanted *imv1.Membership, list []*imv1.RoomRestriction, key string, exists map[string]bool, nowMs int64) error {
	userID := wanted.UserIds[0]
	ends, _ := milliseconds(wanted.Data, key)
	switch was := until(list, userID); {
	case !exists[userID]:
		return im.Errorf(im.NotFound, "no such user")
	case userID == c.room.OwnerId:
		return im.Errorf(im.Forbidden, "the owner of a room is not restricted in it")
	case was == ends, was <= nowMs && ends <= nowMs:
		return errNothingToDo
	case ends > nowMs && was <= nowMs && inForce(list, nowMs) >= im.MaxRoomRestrictions:
		return im.Errorf(im.TooLarge, "at most %d users are restricted in a room at once", im.MaxRoomRestrictions)
	}
	return nil
}

func inForce(list []*imv1.RoomRestriction, nowMs int64) (n int) {
	for _, r := range list {
		if r.UntilMs > nowMs {
			n++
		}
	}
	return n
}

// roomEffect works out what a membership event makes of a room.
func (c *conversation) roomEffect(e *im.Event, m *imv1.Membership) (*effect, error) {
	made := &effect{conversation: c.Conversation, room: proto.CloneOf(c.room)}
	room := made.room
	switch im.Action(m.Action) {
	case im.ActionCreated:
		made.conversation.Type, made.conversation.Key, made.conversation.CreatedAt = im.Room, text(m.Data, dataRoomID), e.AtMs
		room.Name, room.OwnerId = text(m.Data, dataName), e.SenderID
	case im.ActionMuted:
		ends, _ := milliseconds(m.Data, dataMutedUntil)
		room.Muted = restrict(room.Muted, m.UserIds[0], ends, e.AtMs)
	case im.ActionRemoved, im.ActionChanged:
		if len(m.UserIds) == 1 {
			ends, _ := milliseconds(m.Data, dataBannedUntil)
			room.Banned = restrict(room.Banned, m.UserIds[0], ends, e.AtMs)
		}
		for key, value := range m.Data.GetFields() {
			switch key {
			case dataName:
				room.Name = value.GetStringValue()
			case dataMuteAll:
				room.MuteAll = value.GetBoolValue()
			}
		}
	case im.ActionDissolved:
		room.Dissolved, room.Muted, room.Banned = true, nil, nil
	}
	made.conversation.AppliedSeq, made.conversation.LastSeq, made.conversation.LastAtMs = e.Seq, e.Seq, e.AtMs
	settings, err := room.MarshalVT()
	if err != nil {
		return nil, fmt.Errorf("encode the settings of %s: %w", e.ConversationID, err)
	}
	made.conversation.Settings = settings
	return made, nil
}
