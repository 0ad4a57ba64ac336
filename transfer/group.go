package transfer

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// The keys of a membership event's data.
const (
	dataGroupID      = "group_id"
	dataName         = "name"
	dataAvatar       = "avatar_file_id"
	dataAnnouncement = "announcement"
	dataHistory      = "history"
	dataJoin         = "join"
	dataMuteAll      = "mute_all"
	dataRole         = "role"
	dataMutedUntil   = "muted_until_ms"
	dataText         = "text"
)

// settingKeys are the settings of a group that its owner and admins set.
var settingKeys = []string{dataName, dataAvatar, dataAnnouncement, dataHistory, dataJoin, dataMuteAll}

// effect is what a membership event makes of its conversation. It is worked out
// when the event has its seq and takes place when the event is stored.
type effect struct {
	conversation im.Conversation
	settings     *imv1.GroupSettings
	room         *imv1.RoomSettings // of a room, which has neither settings of a group nor members
	members      []im.Member        // the stays that begin, change or end
	projected    bool               // it is in the store
}

// effectOf works out what an event makes of the conversation as it is before it.
// The body is a membership that resolve has made.
func (c *conversation) effectOf(e *im.Event) (*effect, error) {
	if e.Kind == im.KindContact {
		return c.blockEffect(e)
	}
	var membership imv1.Membership
	if err := membership.UnmarshalVT(e.Body); err != nil {
		return nil, fmt.Errorf("decode membership %d of %s: %w", e.Seq, e.ConversationID, err)
	}
	if c.room != nil {
		return c.roomEffect(e, &membership)
	}
	made := &effect{conversation: c.Conversation, settings: cloneSettings(c.settings)}
	made.members = c.staysAfter(e, &membership)
	made.set(e, &membership)
	made.conversation.AppliedSeq, made.conversation.LastSeq, made.conversation.LastAtMs = e.Seq, e.Seq, e.AtMs
	settings, err := made.settings.MarshalVT()
	if err != nil {
		return nil, fmt.Errorf("encode the settings of %s: %w", e.ConversationID, err)
	}
	made.conversation.Settings = settings
	return made, nil
}

// staysAfter returns the stays that an event begins, changes or ends.
func (c *conversation) staysAfter(e *im.Event, m *imv1.Membership) []im.Member {
	var stays []im.Member
	begin := func(userID string, role im.Role) {
		stays = append(stays, im.Member{
			ConversationID: c.ID, UserID: userID, JoinedSeq: e.Seq, LeftSeq: im.Forever, Role: string(role), Seq: e.Seq,
		})
	}
	change := func(userID string, how func(*im.Member)) {
		if stay, ok := c.member(userID); ok {
			how(&stay)
			stay.Seq = e.Seq
			stays = append(stays, stay)
		}
	}
	end := func(stay *im.Member) { stay.LeftSeq = e.Seq }
	switch im.Action(m.Action) {
	case im.ActionCreated:
		begin(e.SenderID, im.RoleOwner)
		for _, id := range m.UserIds {
			if id != e.SenderID {
				begin(id, im.RoleMember)
			}
		}
	case im.ActionJoined:
		for _, id := range m.UserIds {
			begin(id, im.RoleMember)
		}
	case im.ActionLeft, im.ActionRemoved:
		for _, id := range m.UserIds {
			change(id, end)
		}
	case im.ActionRole:
		change(m.UserIds[0], func(stay *im.Member) { stay.Role = text(m.Data, dataRole) })
	case im.ActionMuted:
		change(m.UserIds[0], func(stay *im.Member) { stay.MutedUntilMs, _ = milliseconds(m.Data, dataMutedUntil) })
	case im.ActionOwner:
		change(e.SenderID, func(stay *im.Member) { stay.Role = string(im.RoleAdmin) })
		change(m.UserIds[0], func(stay *im.Member) { stay.Role, stay.MutedUntilMs = string(im.RoleOwner), 0 })
	case im.ActionDissolved:
		for _, stay := range c.Members {
			if stay.LeftSeq == im.Forever {
				change(stay.UserID, end)
			}
		}
	}
	return stays
}

// set changes the settings as an event says.
func (made *effect) set(e *im.Event, m *imv1.Membership) {
	settings := made.settings
	answered := func(ids ...string) {
		settings.Requests = slices.DeleteFunc(settings.Requests, func(r *imv1.JoinRequest) bool { return slices.Contains(ids, r.UserId) })
	}
	switch im.Action(m.Action) {
	case im.ActionCreated:
		made.conversation.Type, made.conversation.Key, made.conversation.CreatedAt = im.Group, text(m.Data, dataGroupID), e.AtMs
		settings.History, settings.Join = im.HistoryJoined, im.JoinInvite
		setAll(settings, m.Data)
	case im.ActionChanged:
		setAll(settings, m.Data)
	case im.ActionDissolved:
		settings.Dissolved, settings.Requests = true, nil
	case im.ActionRequested:
		answered(e.SenderID) // the newer text stands
		settings.Requests = append(settings.Requests, &imv1.JoinRequest{UserId: e.SenderID, Text: text(m.Data, dataText), AtMs: e.AtMs})
	case im.ActionJoined, im.ActionRefused:
		answered(m.UserIds...)
	}
}

func setAll(settings *imv1.GroupSettings, data *structpb.Struct) {
	for key, value := range data.GetFields() {
		switch key {
		case dataName:
			settings.Name = value.GetStringValue()
		case dataAvatar:
			settings.AvatarFileId = value.GetStringValue()
		case dataAnnouncement:
			settings.Announcement = value.GetStringValue()
		case dataHistory:
			settings.History = value.GetStringValue()
		case dataJoin:
			settings.Join = value.GetStringValue()
		case dataMuteAll:
			settings.MuteAll = value.GetBoolValue()
		}
	}
}

// adopt lets an effect take place. Stays that it ends are kept until the batch in
// hand is delivered: they have events that are on their way.
func (c *conversation) adopt(made *effect) {
	c.Conversation, c.settings, c.room, c.Exists, c.kind = made.conversation, made.settings, made.room, true, string(made.conversation.Type)
	for _, changed := range made.members {
		at := slices.IndexFunc(c.Members, func(m im.Member) bool { return m.UserID == changed.UserID && m.JoinedSeq == changed.JoinedSeq })
		if at < 0 {
			c.Members = append(c.Members, changed)
		} else {
			c.Members[at] = changed
		}
	}
	c.changed, c.routes = made.conversation.AppliedSeq, nil
}

// forgetLeft drops the stays that have ended.
func (c *conversation) forgetLeft() {
	c.Members = slices.DeleteFunc(c.Members, func(m im.Member) bool { return m.LeftSeq != im.Forever })
}

func cloneSettings(settings *imv1.GroupSettings) *imv1.GroupSettings {
	if settings == nil {
		return &imv1.GroupSettings{}
	}
	return proto.CloneOf(settings)
}

// text returns a string of an event's data.
func text(data *structpb.Struct, key string) string { return data.GetFields()[key].GetStringValue() }

// milliseconds returns a time of an event's data: a string, as all times are, or a
// number.
func milliseconds(data *structpb.Struct, key string) (int64, bool) {
	switch value := data.GetFields()[key].GetKind().(type) {
	case *structpb.Value_StringValue:
		n, err := strconv.ParseInt(value.StringValue, 10, 64)
		return n, err == nil && n >= 0
	case *structpb.Value_NumberValue:
		n := int64(value.NumberValue)
		return n, float64(n) == value.NumberValue && n >= 0
	}
	return 0, false
}
