package http

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// kickedDevices are those whose connections were closed as revoked.
func (f *fakePipeline) kickedDevices(t *testing.T) (devices []string) {
	t.Helper()
	for _, k := range f.kicked {
		if k.Code != string(im.Revoked) {
			t.Errorf("kicked with %s", k.Code)
		}
		devices = append(devices, k.DeviceId)
	}
	slices.Sort(devices)
	return devices
}

func TestChangingThePassword(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("ann") // on d1
	other := w.signIn("ann", "d2", "ios")
	put := func(token, old, fresh string) said {
		return w.call("PUT", "/v1/users/me/password", token, map[string]string{"old": old, "new": fresh})
	}
	put(token, "wrong password", "another-password").refused("a wrong old one", im.Forbidden)
	put(token, "password-ann", "short").refused("a short new one", im.Invalid)
	put("", "password-ann", "another-password").refused("no token", im.Unauthenticated)
	if w.store.users[0].PasswordHash != "hash of password-ann" || len(w.pipeline.kicked) != 0 {
		t.Fatal("a refused change has changed something")
	}
	put(token, "password-ann", "another-password").ok("change", 204)
	put(token, "password-ann", "another-password").ok("a repeat", 204)
	if got := w.pipeline.kickedDevices(t); !slices.Equal(got, []string{"d2", "d2"}) {
		t.Errorf("kicked %v", got)
	}
	w.call("GET", "/v1/users/me", other, nil).refused("the other device", im.Unauthenticated)
	w.call("GET", "/v1/users/me", token, nil).ok("this device", 200).is("username", `"ann"`)
	w.logIn("ann", "password-ann", "d2", "ios").refused("the old password", im.Unauthenticated)
	w.logIn("ann", "another-password", "d2", "ios").ok("the new one", 200)
	for range 20 {
		put(token, "wrong password", "another-password 2")
	}
	put(token, "wrong password", "another-password 2").refused("too many tries", im.RateLimited)
}

// Who logs in with the old password while it is being changed is not let in.
func TestAPasswordChangesDuringALogIn(t *testing.T) {
	w := newWorld(t)
	w.token("ann")
	w.store.fail = func(call string) error {
		if call == "PutDevice" {
			w.store.users[0].PasswordHash = "hash of another"
		}
		return nil
	}
	w.logIn("ann", "password-ann", "d2", "ios").refused("log in", im.Unauthenticated)
	w.store.fail = nil
	for key, device := range w.store.devices {
		if key[1] == "d2" && device.Family != "" {
			t.Errorf("device %+v is signed in", device)
		}
	}
}

// A device that was signed out can not delete the account, as one that was stolen.
func TestWhoIsSignedOutDeletesNoAccount(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	stolen := w.signIn("ann", "d2", "ios")
	w.call("DELETE", "/v1/devices/d2", token, nil).ok("sign it out", 204)
	w.call("DELETE", "/v1/users/me", stolen, nil).refused("by who is signed out", im.Unauthenticated)
	w.call("PATCH", "/v1/service/users/"+ann, serviceKey, `{"disabled":true}`).ok("disable", 204)
	w.call("DELETE", "/v1/users/me", token, nil).refused("by who is disabled", im.Unauthenticated)
	if w.store.users[0].Deleted || len(w.pipeline.published) > 0 {
		t.Errorf("the account is %+v, published %v", w.store.users[0], w.pipeline.published)
	}
}

// An account that is disabled while a device is signed in keeps none.
func TestAnAccountIsDisabledDuringASignIn(t *testing.T) {
	w := newWorld(t)
	ann, _ := w.token("ann")
	w.store.fail = func(call string) error {
		if call == "PutDevice" {
			w.store.users[0].Disabled = true
		}
		return nil
	}
	w.call("POST", "/v1/service/tokens", serviceKey, `{"user_id":"`+ann+`","device_id":"d2","platform":"ios"}`).refused("by the service", im.Forbidden)
	w.store.users[0].Disabled = false
	w.logIn("ann", "password-ann", "d3", "ios").refused("by password", im.Forbidden)
	for key, device := range w.store.devices {
		if key[1] != "d1" && device.Family != "" {
			t.Errorf("device %+v is signed in", device)
		}
	}
}

// While no connection can be closed, for its owner is away, all devices are signed out all
// the same; who asks again then closes their connections.
func TestAllAreSignedOutWhileTheOwnerIsAway(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.RequestTimeout = time.Second })
	ann, token := w.token("ann")
	for _, device := range []string{"d2", "d3", "d4"} {
		w.signIn("ann", device, "ios")
	}
	w.pipeline.err = im.Retry(im.Unavailable, time.Second, "the inbox has no owner")
	w.call("DELETE", "/v1/devices", token, nil).refused("without an owner", im.Unavailable)
	for _, d := range []string{"d2", "d3", "d4"} {
		if family := w.store.devices[[2]string{ann, d}].Family; family != "" {
			t.Errorf("%s is signed in", d)
		}
	}
	w.pipeline.err, w.pipeline.kicked = nil, nil
	w.call("DELETE", "/v1/devices", token, nil).ok("again", 204)
	if got := w.pipeline.kickedDevices(t); !slices.Equal(got, []string{"d2", "d3", "d4"}) {
		t.Errorf("kicked %v", got)
	}
	w.call("GET", "/v1/users/me", token, nil).ok("who has asked", 200)
}

// A connection is closed for the sign-in that has ended, not for a later one.
func TestAKickNamesTheSignIn(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	family := w.store.devices[[2]string{ann, "d1"}].Family
	w.call("DELETE", "/v1/sessions/current", token, nil).ok("sign out", 204)
	w.logIn("ann", "password-ann", "d1", "web").ok("log in again", 200)
	if k := w.pipeline.kicked[0]; k.Grant == 0 || k.Grant != im.Grant(family) {
		t.Errorf("kicked %v, want the sign-in of %s", k, family)
	}
}

func TestDeletingAnAccount(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	other := w.signIn("ann", "d2", "ios")
	_, bob := w.token("bob")
	w.call("DELETE", "/v1/users/me", "", nil).refused("no token", im.Unauthenticated)
	w.call("DELETE", "/v1/users/me", token, nil).ok("delete", 204)
	w.call("DELETE", "/v1/users/me", token, nil).ok("a repeat", 204)
	if got := w.pipeline.kickedDevices(t); !slices.Equal(got, []string{"d1", "d1", "d2", "d2"}) {
		t.Errorf("kicked %v", got)
	}
	for _, token := range []string{token, other} {
		w.call("GET", "/v1/users/me", token, nil).refused("a token", im.Unauthenticated)
	}
	w.logIn("ann", "password-ann", "d1", "web").refused("log in", im.Unauthenticated)
	w.call("POST", "/v1/users", "", `{"username":"ann","password":"12345678"}`).refused("the name again", im.Conflict)
	w.call("GET", "/v1/users/"+ann, bob, nil).ok("the profile", 200).is("", `{"user_id":"`+ann+`","username":"","deleted":true}`)
	w.call("GET", "/v1/users?query=ann", bob, nil).ok("a search", 200).is("users", `[]`)
	w.call("PATCH", "/v1/service/users/"+ann, serviceKey, `{"disabled":false}`).refused("enable it again", im.NotFound)
}

func TestDisablingAnAccount(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	path := "/v1/service/users/" + ann
	w.call("PATCH", path, token, `{"disabled":true}`).refused("by a user", im.Unauthenticated)
	w.call("PATCH", path, serviceKey, `{}`).refused("nothing", im.Invalid)
	w.call("PATCH", "/v1/service/users/nobody", serviceKey, `{"disabled":true}`).refused("nobody", im.NotFound)
	w.call("PATCH", path, serviceKey, `{"disabled":true}`).ok("disable", 204)
	if got := w.pipeline.kickedDevices(t); !slices.Equal(got, []string{"d1"}) {
		t.Errorf("kicked %v", got)
	}
	w.call("GET", "/v1/users/me", token, nil).refused("its token", im.Unauthenticated)
	w.logIn("ann", "password-ann", "d1", "web").refused("log in", im.Forbidden)
	w.call("PATCH", path, serviceKey, `{"disabled":false}`).ok("enable", 204)
	w.logIn("ann", "password-ann", "d1", "web").ok("log in again", 200)
}

func TestChangingTheProfile(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("ann")
	w.pipeline.reply = &imv1.Reply{What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{}}}
	w.call("PATCH", "/v1/users/me", token, `{"nickname":"Ann","bio":""}`, "Idempotency-Key", "k").ok("change", 204)
	change := &imv1.OwnChange{}
	if err := change.UnmarshalVT(w.pipeline.published[0].GetOwn()); err != nil {
		t.Fatal(err)
	}
	p := change.GetProfile()
	if change.ClientId != "k" || p.GetNickname() != "Ann" || p.Bio == nil || *p.Bio != "" || p.AvatarFileId != nil {
		t.Errorf("published %v", change)
	}
	w.call("PATCH", "/v1/users/me", token, `{"nickname":"a\nb"}`).refused("a control character", im.Invalid)
	w.call("PATCH", "/v1/users/me", token, `{"bio":"x"}`, "Idempotency-Key", strings.Repeat("k", 65)).refused("a long key", im.Invalid)
	w.call("PATCH", "/v1/users/me", "", `{"bio":"x"}`).refused("no token", im.Unauthenticated)
	if len(w.pipeline.published) != 1 {
		t.Errorf("published %v", w.pipeline.published)
	}
}

func TestFindingUsersByTheBeginningOfTheirNames(t *testing.T) {
	w := newWorld(t)
	ids := map[string]string{}
	for _, name := range []string{"ann", "anna", "anne", "bob"} {
		ids[name], _ = w.token(name)
	}
	_, token := w.token("me")
	w.store.users[2].Disabled = true
	names := func(a said) (names []string) {
		for _, user := range a.content["users"].([]any) {
			names = append(names, fmt.Sprint(user.(map[string]any)["username"]))
		}
		return names
	}
	page := w.call("GET", "/v1/users?query=AN&limit=1", token, nil).ok("first page", 200)
	if got := names(page); !slices.Equal(got, []string{"ann"}) {
		t.Errorf("first page: %v", got)
	}
	rest := w.call("GET", "/v1/users?query=AN&cursor="+page.str("next"), token, nil).ok("the rest", 200)
	if got := names(rest); !slices.Equal(got, []string{"anna"}) {
		t.Errorf("the rest: %v", got)
	}
	if got := names(w.call("GET", "/v1/users?query="+ids["bob"], token, nil).ok("by id", 200)); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("by id: %v", got)
	}
	w.call("GET", "/v1/users?query=a&limit=-1", token, nil).refused("negative limit", im.Invalid)
	w.call("GET", "/v1/users?query=a&cursor=!", token, nil).refused("odd cursor", im.Invalid)
}
