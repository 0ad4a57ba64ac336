package transfer

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// errNothingToDo settles a change that is in force already: there is no event, and
// the answer is that of success.
var errNothingToDo = im.Errorf(im.Internal, "nothing to do")

// change is one that somebody wants, being judged by what the conversation is now.
type change struct {
	*conversation
	by     im.Member // whose stay may be over, or not be
	inside bool
	exists map[string]bool // which of its users there are
	wanted *imv1.Membership
	userID string // the first of its users, empty where it has none
}

// resolve judges a change and makes the membership event of it: what is asked for and
// in force already is left out. To who is not a member a group is not found.
func (c *conversation) resolve(cmd *imv1.Command, exists map[string]bool, nowMs int64) (*imv1.Membership, error) {
	if c.room != nil {
		return c.resolveRoom(cmd, exists, nowMs)
	}
	wanted := &imv1.Membership{}
	if err := proto.Unmarshal(cmd.Body, wanted); err != nil {
		return nil, im.Errorf(im.Invalid, "the change can not be decoded")
	}
	wanted.By = cmd.UserId
	ch := &change{conversation: c, exists: exists, wanted: wanted}
	ch.by, ch.inside = c.member(cmd.UserId)
	ch.by.UserID = cmd.UserId
	if len(wanted.UserIds) > 0 {
		ch.userID = wanted.UserIds[0]
	}
	return wanted, ch.judge(cmd)
}

func (ch *change) judge(cmd *imv1.Command) error {
	action := im.Action(ch.wanted.Action)
	if action == im.ActionCreated {
		return ch.create(cmd.GroupId)
	}
	if !ch.Exists || ch.settings.GetDissolved() {
		return errNoConversation
	}
	if action == im.ActionRequested {
		return ch.request()
	}
	if !ch.inside {
		return errNoConversation
	}
	switch action {
	case im.ActionJoined:
		return ch.add()
	case im.ActionLeft:
		return ch.leave()
	case im.ActionRemoved:
		return ch.remove()
	case im.ActionRole:
		return ch.giveRole()
	case im.ActionMuted:
		return ch.mute()
	case im.ActionOwner:
		return ch.giveAway()
	case im.ActionChanged:
		return ch.configure()
	case im.ActionDissolved:
		return ch.mustBe(im.RoleOwner)
	case im.ActionAccepted, im.ActionRefused:
		return ch.answer(action)
	}
	return im.Errorf(im.Invalid, "unknown action")
}

var errNoConversation = im.Errorf(im.NotFound, "no such conversation")

// rank orders the roles: who is above another may act upon them.
func rank(m im.Member) int {
	switch im.Role(m.Role) {
	case im.RoleOwner:
		return 2
	case im.RoleAdmin:
		return 1
	}
	return 0
}

func (ch *change) mustBe(role im.Role) error {
	if rank(ch.by) < rank(im.Member{Role: string(role)}) {
		return im.Errorf(im.Forbidden, "that is for the %s", role)
	}
	return nil
}

// peer returns the other member that a change is about, whom the caller must
// outrank.
func (ch *change) peer() (im.Member, error) {
	peer, ok := ch.member(ch.userID)
	switch {
	case !ok:
		return peer, im.Errorf(im.NotFound, "no such member")
	case rank(peer) >= rank(ch.by):
		return peer, im.Errorf(im.Forbidden, "that is for who stands above the member")
	}
	return peer, nil
}

func (ch *change) create(groupID string) error {
	if ch.Exists {
		return im.Errorf(im.Conflict, "the group exists")
	}
	ch.dropMembers(ch.by.UserID)
	if len(ch.wanted.UserIds) >= im.MaxGroupMembers {
		return errFull
	}
	if !ch.exists[ch.by.UserID] {
		return im.Errorf(im.NotFound, "no such user")
	}
	if ch.wanted.Data == nil {
		ch.wanted.Data = &structpb.Struct{}
	}
	if ch.wanted.Data.Fields == nil {
		ch.wanted.Data.Fields = map[string]*structpb.Value{}
	}
	ch.wanted.Data.Fields[dataGroupID] = structpb.NewStringValue(groupID)
	return ch.usersExist()
}

var errFull = im.Errorf(im.TooLarge, "a group has at most %d members", im.MaxGroupMembers)

// dropMembers leaves out who is in already.
func (ch *change) dropMembers(also string) {
	ch.wanted.UserIds = slices.DeleteFunc(ch.wanted.UserIds, func(id string) bool {
		_, in := ch.member(id)
		return in || id == also
	})
}

func (ch *change) usersExist() error {
	for _, id := range ch.wanted.UserIds {
		if !ch.exists[id] {
			return im.Errorf(im.NotFound, "no such user: %s", id)
		}
	}
	return nil
}

func (ch *change) open() int {
	open := 0
	for _, m := range ch.Members {
		if m.LeftSeq == im.Forever {
			open++
		}
	}
	return open
}

func (ch *change) add() error {
	if join := ch.settings.GetJoin(); join == im.JoinRequest || join == im.JoinClosed {
		if err := ch.mustBe(im.RoleAdmin); err != nil {
			return err
		}
	}
	ch.dropMembers("")
	switch {
	case len(ch.wanted.UserIds) == 0:
		return errNothingToDo
	case ch.open()+len(ch.wanted.UserIds) > im.MaxGroupMembers:
		return errFull
	}
	ch.wanted.Data = nil
	return ch.usersExist()
}

// leave: the owner gives the group away first, or dissolves it.
func (ch *change) leave() error {
	if im.Role(ch.by.Role) == im.RoleOwner {
		return im.Errorf(im.Forbidden, "the owner can not leave: give the group to another member, or dissolve it")
	}
	ch.wanted.UserIds, ch.wanted.Data = []string{ch.by.UserID}, nil
	return nil
}

func (ch *change) remove() error {
	if err := ch.mustBe(im.RoleAdmin); err != nil {
		return err
	}
	_, err := ch.peer()
	ch.wanted.Data = nil
	return err
}

func (ch *change) giveRole() error {
	if err := ch.mustBe(im.RoleOwner); err != nil {
		return err
	}
	peer, err := ch.peer()
	if err == nil && peer.Role == text(ch.wanted.Data, dataRole) {
		return errNothingToDo
	}
	return err
}

func (ch *change) mute() error {
	if err := ch.mustBe(im.RoleAdmin); err != nil {
		return err
	}
	peer, err := ch.peer()
	if until, _ := milliseconds(ch.wanted.Data, dataMutedUntil); err == nil && peer.MutedUntilMs == until {
		return errNothingToDo
	}
	return err
}

func (ch *change) giveAway() error {
	if err := ch.mustBe(im.RoleOwner); err != nil {
		return err
	}
	if ch.userID == ch.by.UserID {
		return errNothingToDo
	}
	_, err := ch.peer()
	ch.wanted.Data = nil
	return err
}

func (ch *change) configure() error {
	if err := ch.mustBe(im.RoleAdmin); err != nil {
		return err
	}
	after := cloneSettings(ch.settings)
	setAll(after, ch.wanted.Data)
	if proto.Equal(after, ch.settings) {
		return errNothingToDo
	}
	return nil
}

// request: where the group is open who asks is in.
func (ch *change) request() error {
	join := ch.settings.GetJoin()
	switch {
	case ch.inside:
		return errNothingToDo
	case join == im.JoinOpen:
		ch.wanted.Action, ch.wanted.UserIds, ch.wanted.Data = string(im.ActionJoined), []string{ch.by.UserID}, nil
		if ch.open() >= im.MaxGroupMembers {
			return errFull
		}
	case join != im.JoinRequest:
		return errNoConversation
	case len(ch.settings.Requests) >= im.MaxGroupRequests && !ch.asked(ch.by.UserID):
		return im.Errorf(im.Forbidden, "too many have asked and have no answer")
	}
	ch.wanted.UserIds = []string{ch.by.UserID}
	return nil
}

func (ch *change) asked(userID string) bool {
	return slices.ContainsFunc(ch.settings.Requests, func(r *imv1.JoinRequest) bool { return r.UserId == userID })
}

func (ch *change) answer(action im.Action) error {
	if err := ch.mustBe(im.RoleAdmin); err != nil {
		return err
	}
	if _, in := ch.member(ch.userID); in && action == im.ActionAccepted {
		return errNothingToDo
	}
	if !ch.asked(ch.userID) {
		return im.Errorf(im.NotFound, "no such request")
	}
	ch.wanted.Data = nil
	if action == im.ActionAccepted {
		ch.wanted.Action = string(im.ActionJoined)
		if ch.open() >= im.MaxGroupMembers {
			return errFull
		}
		return ch.usersExist()
	}
	return nil
}
