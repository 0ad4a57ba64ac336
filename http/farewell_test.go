package http

import (
	"slices"
	"strings"
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// belongs puts a user into a group of these members.
func (w *world) belongs(userID, group string, members ...im.Member) {
	w.group(group, &imv1.GroupSettings{Name: group}, members...)
	view := im.ConversationView{Conversation: w.store.states[im.GroupConversation(group)].Conversation, Present: true}
	w.store.views[userID] = append(w.store.views[userID], view)
}

// farewells answers changes of groups as a pipeline does that has them done, refused as
// refuse says, and returns what was asked for.
func (w *world) farewells(userID string, refuse func(action, group string) im.Code) func() []string {
	var asked []string
	w.pipeline.answer = func(publish *imv1.Publish) *imv1.Reply {
		change := new(imv1.GroupChange)
		if err := change.UnmarshalVT(publish.GetChange()); err != nil {
			w.t.Error(err)
		}
		action := change.Membership.Action
		asked = append(asked, strings.Join(append([]string{change.GroupId, action}, change.Membership.UserIds...), " "))
		if code := refuse(action, change.GroupId); code != "" {
			return errorOf(code, 0)
		}
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		for i, view := range w.store.views[userID] {
			if view.Key == change.GroupId && action != "owner" {
				w.store.views[userID][i].Present = false
			}
		}
		return sendAckOf(&imv1.SendAck{MessageId: 1})
	}
	return func() []string {
		slices.Sort(asked)
		return asked
	}
}

func member(userID, role string, joined int64) im.Member {
	return im.Member{UserID: userID, Role: role, JoinedSeq: joined}
}

func TestWhoIsDeletedLeavesItsGroups(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	w.belongs(ann, "of-others", member("bob", "owner", 1), member(ann, "admin", 2))
	w.belongs(ann, "to-admin", member(ann, "owner", 1), member("cy", "member", 2), member("dan", "admin", 4), member("eve", "admin", 3))
	w.belongs(ann, "to-member", member("cy", "member", 3), member("dan", "member", 2), member(ann, "owner", 1))
	w.belongs(ann, "alone", member(ann, "owner", 1))
	w.belongs(ann, "left", member("bob", "owner", 1))
	w.store.views[ann][4].Present = false
	w.store.views[ann] = append(w.store.views[ann], im.ConversationView{Conversation: im.Conversation{ID: "d", Type: im.Direct}, Present: true})
	asked := w.farewells(ann, func(string, string) im.Code { return "" })
	w.call("DELETE", "/v1/users/me", token, nil).ok("delete", 204)
	if want := []string{
		"alone dissolved", "of-others left", "to-admin left", "to-admin owner eve", "to-member left", "to-member owner dan",
	}; !slices.Equal(asked(), want) {
		t.Errorf("asked for %q, want %q", asked(), want)
	}
	w.call("DELETE", "/v1/users/me", token, nil).ok("a repeat", 204)
	if len(asked()) != 6 {
		t.Errorf("a repeat asked for more: %q", asked())
	}
}

// What has changed in a group since it was read is found when it is read again; where
// that never ends, or nobody answers, the account stays.
func TestLeavingWhatChanges(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	w.belongs(ann, "g", member(ann, "owner", 1), member("bob", "admin", 2), member("cy", "member", 3))
	asked := w.farewells(ann, func(action, _ string) im.Code {
		if at := w.store.states[im.GroupConversation("g")]; action == "owner" && len(at.Members) == 3 { // bob has left
			w.belongs("nobody", "g", at.Members[0], at.Members[2])
			return im.NotFound
		}
		return ""
	})
	w.call("DELETE", "/v1/users/me", token, nil).ok("delete", 204)
	if want := []string{"g left", "g owner bob", "g owner cy"}; !slices.Equal(asked(), want) {
		t.Errorf("asked for %q, want %q", asked(), want)
	}

	for code, want := range map[im.Code]im.Code{im.Forbidden: im.Unavailable, im.Unavailable: im.Unavailable} {
		w := newWorld(t)
		ann, token := w.token("ann")
		w.belongs(ann, "g", member("bob", "owner", 1), member(ann, "member", 2))
		w.farewells(ann, func(string, string) im.Code { return code })
		w.call("DELETE", "/v1/users/me", token, nil).refused("delete", want)
		w.call("GET", "/v1/users/me", token, nil).ok("there is still an account", 200)
	}
}

// What has been left, and is in the list still, holds nothing up.
func TestLeavingWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	w.belongs(ann, "g", member("bob", "owner", 1), member(ann, "member", 2))
	asked := w.farewells(ann, func(string, string) im.Code { return im.NotFound })
	w.call("DELETE", "/v1/users/me", token, nil).ok("delete", 204)
	if want := []string{"g left", "g left"}; !slices.Equal(asked(), want) { // before the account goes and after
		t.Errorf("asked for %q, want %q", asked(), want)
	}
}

// Whoever is put into a group while the account goes leaves it afterwards.
func TestAGroupJoinedMeanwhile(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	w.store.fail = func(call string) error {
		if call == "ChangeAccount" {
			w.belongs(ann, "g", member("bob", "owner", 1), member(ann, "member", 2))
		}
		return nil
	}
	asked := w.farewells(ann, func(string, string) im.Code { return "" })
	w.call("DELETE", "/v1/users/me", token, nil).ok("delete", 204)
	if want := []string{"g left"}; !slices.Equal(asked(), want) {
		t.Errorf("asked for %q, want %q", asked(), want)
	}
}
