package http

import (
	"testing"

	"github.com/im-transfer/im"
)

func TestListingConnections(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	bob, _ := w.token("bob")
	line := func(user, session string, online, offline int64, reason string) im.Connection {
		return im.Connection{
			UserID: user, SessionID: session, DeviceID: "d1", Platform: "web", Transport: "tcp", Remote: "10.0.0.1:5",
			OnlineAtMs: online, OfflineAtMs: offline, Reason: reason,
		}
	}
	w.store.connections = []im.Connection{
		line(ann, "alive.2", 40, 0, ""), line(ann, "dead.1", 30, 0, ""), line(bob, "alive.1", 20, 25, "idle"), line(ann, "alive.1", 10, 15, "left"),
	}
	w.store.connections[3].Client, w.store.connections[3].UserAgent = "im/1", "Mozilla"
	w.server.gateways["tcp"].set([]im.Server{{ID: "alive"}})
	first := w.call("GET", "/v1/connections?limit=2", token, nil).ok("list", 200)
	first.is("connections", `[
		{"session_id":"alive.2","device_id":"d1","platform":"web","transport":"tcp","remote":"10.0.0.1:5","online_at_ms":"40"},
		{"session_id":"dead.1","device_id":"d1","platform":"web","transport":"tcp","remote":"10.0.0.1:5","online_at_ms":"30","reason":"lost"}]`)
	second := w.call("GET", "/v1/connections?limit=2&cursor="+first.str("next"), token, nil).ok("next page", 200)
	second.is("", `{"connections":[{"session_id":"alive.1","device_id":"d1","platform":"web","transport":"tcp","remote":"10.0.0.1:5",
		"client":"im/1","user_agent":"Mozilla","online_at_ms":"10","offline_at_ms":"15","reason":"left"}]}`)
	w.call("GET", "/v1/connections?device_id=d2", token, nil).ok("of another device", 200).is("connections", "[]")
	w.call("GET", "/v1/connections?user_id="+bob, token, nil).ok("of oneself whatever one says", 200)

	w.call("GET", "/v1/service/connections?user_id="+bob, serviceKey, nil).ok("by the service key", 200).is("connections", `[
		{"session_id":"alive.1","device_id":"d1","platform":"web","transport":"tcp","remote":"10.0.0.1:5","online_at_ms":"20","offline_at_ms":"25","reason":"idle"}]`)
	w.call("GET", "/v1/service/connections?user_id="+bob, token, nil).refused("by a token", im.Unauthenticated)
	w.call("GET", "/v1/service/connections?user_id=nobody", serviceKey, nil).refused("of nobody", im.NotFound)
	w.call("GET", "/v1/connections", "", nil).refused("no token", im.Unauthenticated)
	w.call("GET", "/v1/connections?limit=-1", token, nil).refused("negative limit", im.Invalid)
	w.call("GET", "/v1/connections?cursor=!", token, nil).refused("odd cursor", im.Invalid)
}

// Before there is a list of servers nobody is thought to be dead.
func TestAConnectionIsNotLostBeforeThereIsAList(t *testing.T) {
	w := newWorld(t)
	ann, token := w.token("ann")
	w.store.connections = []im.Connection{{UserID: ann, SessionID: "s.1", Transport: "websocket", OnlineAtMs: 1}}
	w.call("GET", "/v1/connections", token, nil).ok("list", 200).is("connections", `[
		{"session_id":"s.1","device_id":"","platform":"","transport":"websocket","remote":"","online_at_ms":"1"}]`)
}
