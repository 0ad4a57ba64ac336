package http

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/im-transfer/im"
)

func TestFindingAServer(t *testing.T) {
	w := newWorld(t)
	_, token := w.token("alice")
	w.call("GET", "/v1/gateway", token, nil).refused("none lives", im.Unavailable)
	w.call("GET", "/v1/gateway?transport=pigeon", token, nil).refused("no such transport", im.Invalid)

	web := w.server.gateways["websocket"]
	web.set([]im.Server{
		{ID: "a", Address: "a:1", URL: "ws://a:1/ws", Load: 5}, {ID: "b", Address: "b:1", URL: "ws://b:1/ws", Load: 1},
	})
	w.server.gateways["tcp"].set([]im.Server{{ID: "t", Address: "t:2", URL: "tcp://t:2"}})
	b := `{"server_id":"b","address":"b:1","url":"ws://b:1/ws"}`
	w.call("GET", "/v1/gateway", token, nil).ok("left out", 200).is("", b)
	w.call("GET", "/v1/gateway?transport=websocket", token, nil).ok("websocket", 200).is("", b)
	w.call("GET", "/v1/gateway?transport=tcp", token, nil).ok("tcp", 200).
		is("", `{"server_id":"t","address":"t:2","url":"tcp://t:2"}`)
	for query, want := range map[string]string{
		"?exclude=b":                       `"a"`,
		"?exclude=x&exclude=b":             `"a"`,
		"?exclude=a&exclude=b":             `"b"`,
		"?transport=tcp&exclude=t":         `"t"`,
		"?transport=websocket&exclude=b,x": `"b"`, // an id may have a comma in it
	} {
		w.call("GET", "/v1/gateway"+query, token, nil).ok(query, 200).is("server_id", want)
	}
}

// Those sent to a server count until the registry tells its load anew.
func TestACrowdIsSpread(t *testing.T) {
	list := &gateways{}
	list.set([]im.Server{{ID: "a"}, {ID: "b"}, {ID: "c", Load: 100}})
	sent := map[string]int{}
	for range 100 {
		server, _ := list.pick(nil)
		sent[server.ID]++
	}
	if sent["a"] != 50 || sent["b"] != 50 {
		t.Errorf("sent %v", sent)
	}
}

func TestTheServerFollowsTheRegistryUntilItStops(t *testing.T) {
	w := newWorld(t)
	if err := w.server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := net.SplitHostPort(w.server.Addr()); err != nil {
		t.Errorf("Addr: %v", err)
	}
	w.discovery["tcp"] <- []im.Server{{ID: "old"}}
	w.discovery["tcp"] <- []im.Server{{ID: "new"}}
	w.discovery["tcp"] <- nil // taken only after the one before
	for range 2 {
		if err := w.server.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	select {
	case err := <-w.server.Failed():
		t.Errorf("failed: %v", err)
	default:
	}
}

func TestFollowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.discovery["websocket"], w.discovery["tcp"] = make(chan []im.Server), make(chan []im.Server)
		if err := w.server.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.discovery["tcp"] <- []im.Server{{ID: "t"}}
		synctest.Wait()
		if server, ok := w.server.gateways["tcp"].pick(nil); !ok || server.ID != "t" {
			t.Errorf("picked %v, %v", server, ok)
		}
		w.discovery["tcp"] <- nil
		synctest.Wait()
		if _, ok := w.server.gateways["tcp"].pick(nil); ok {
			t.Error("a server that has gone is picked")
		}
	})
}

func TestAPortInUseNamesItsSetting(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	w := newWorld(t, func(c *Config) { c.Listen = listener.Addr().String() })
	if err := w.server.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "http.listen") {
		t.Errorf("Start: %v", err)
	}
	if err := w.server.Stop(t.Context()); err != nil {
		t.Errorf("Stop of a server that did not start: %v", err)
	}
}
