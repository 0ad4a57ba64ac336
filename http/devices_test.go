package http

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

// signIn signs another device of a user in and returns its token.
func (w *world) signIn(name, device, platform string) string {
	w.t.Helper()
	return w.logIn(name, "password-"+name, device, platform).ok("log in", 200).str("access_token")
}

func TestListingDevices(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann") // on d1
	w.signIn("ann", "d0", "ios")
	w.signIn("ann", "d2", "desktop")
	w.token("bob")
	w.store.cursors = []im.Cursor{{UserID: ann, DeviceID: "d0", Seq: 7}}
	at := fmt.Sprint(w.clock.Now().UnixMilli())
	list := w.call("GET", "/v1/devices?limit=2", token, nil).ok("list", 200)
	list.is("devices", `[{"device_id":"d0","platform":"ios","created_at_ms":"`+at+`","cursor":"7"},
		{"device_id":"d1","platform":"web","current":true,"created_at_ms":"`+at+`"}]`)
	rest := w.call("GET", "/v1/devices?limit=2&cursor="+list.str("next"), token, nil).ok("next page", 200)
	rest.is("devices", `[{"device_id":"d2","platform":"desktop","created_at_ms":"`+at+`"}]`)
	if rest.content["next"] != nil {
		t.Errorf("the last page goes on at %v", rest.content["next"])
	}
	w.call("GET", "/v1/devices?limit=-1", token, nil).refused("negative limit", im.Invalid)
	w.call("GET", "/v1/devices?cursor=!", token, nil).refused("odd cursor", im.Invalid)
	w.call("GET", "/v1/devices", "", nil).refused("no token", im.Unauthenticated)
}

func TestChangingADevice(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	w.signIn("ann", "d2", "ios")
	w.call("PATCH", "/v1/devices/d2", token, `{"name":"Phone"}`).ok("name another", 204)
	w.call("PATCH", "/v1/devices/d1", token, `{"push_provider":"fcm","push_token":"secret"}`).ok("wake this", 204)
	text := w.call("GET", "/v1/devices", token, nil).ok("list", 200).text
	if !strings.Contains(text, `"name":"Phone"`) || !strings.Contains(text, `"push_provider":"fcm"`) || strings.Contains(text, "secret") {
		t.Errorf("the list is %s", text)
	}
	before := w.store.devices[[2]string{ann, "d1"}]
	for _, c := range []struct {
		what, device, body string
		code               im.Code
	}{
		{"nothing", "d1", `{}`, im.Invalid},
		{"a long name", "d1", `{"name":"` + strings.Repeat("x", 129) + `"}`, im.Invalid},
		{"a bell in the name", "d1", `{"name":"\u0007"}`, im.Invalid},
		{"a provider alone", "d1", `{"push_provider":"fcm"}`, im.Invalid},
		{"a token of nobody", "d1", `{"push_provider":"","push_token":"t"}`, im.Invalid},
		{"a long token", "d1", `{"push_provider":"fcm","push_token":"` + strings.Repeat("x", 4097) + `"}`, im.Invalid},
		{"another's token", "d2", `{"push_provider":"fcm","push_token":"t"}`, im.Forbidden},
		{"no such device", "d9", `{"name":"x"}`, im.NotFound},
		{"no device at all", strings.Repeat("x", 65), `{"name":"x"}`, im.NotFound},
	} {
		w.call("PATCH", "/v1/devices/"+c.device, token, c.body).refused(c.what, c.code)
	}
	if after := w.store.devices[[2]string{ann, "d1"}]; after != before {
		t.Errorf("what was refused changed %+v into %+v", before, after)
	}
	w.call("PATCH", "/v1/devices/d1", token, `{"push_provider":"","push_token":""}`).ok("wake no more", 204)
	if got := w.store.devices[[2]string{ann, "d1"}].Push; got != (im.Push{}) {
		t.Errorf("it is woken by %+v", got)
	}
}

func TestSigningDevicesOut(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	second, third := w.signIn("ann", "d2", "ios"), w.signIn("ann", "d3", "desktop")
	_, bob := w.token("bob") // also on d1
	w.call("DELETE", "/v1/devices/d2", bob, nil).refused("another user's device", im.NotFound)
	w.call("GET", "/v1/devices", second, nil).ok("not signed out", 200)

	w.call("DELETE", "/v1/devices/d2", token, nil).ok("sign out", 204)
	w.call("GET", "/v1/devices", second, nil).refused("signed out", im.Unauthenticated)
	w.call("DELETE", "/v1/devices/d2", token, nil).ok("sign out again", 204)
	w.call("PATCH", "/v1/devices/d2", token, `{"name":"x"}`).refused("name who is signed out", im.NotFound)

	w.call("DELETE", "/v1/devices", token, nil).ok("sign others out", 204)
	w.call("GET", "/v1/devices", third, nil).refused("the third", im.Unauthenticated)
	w.call("GET", "/v1/devices", token, nil).ok("this one", 200).is("next", "null")
	w.call("GET", "/v1/devices", bob, nil).ok("another user's", 200)

	var kicked []string
	for _, k := range w.pipeline.kicked {
		if k.UserId != ann || k.Code != string(im.Revoked) {
			t.Errorf("kicked %v", k)
		}
		kicked = append(kicked, k.DeviceId)
	}
	slices.Sort(kicked)
	if got := fmt.Sprint(kicked); got != "[d2 d2 d2 d3]" {
		t.Errorf("connections closed of %s", got)
	}
}
