package http

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// An attempt that is refused for its address is no failed log-in of the name.
func TestARefusedAddressUsesUpNoName(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.LoginsPerName, c.LoginsPerAddress = Rate{3, 10 * time.Second}, Rate{5, time.Minute}
		c.Proxies = proxies("192.0.2.1/32") // httptest's peer
	})
	w.signUp("alice", "d1", "web")
	try := func(from, name, password string) said {
		return w.call("POST", "/v1/sessions", "", map[string]string{
			"username": name, "password": password, "device_id": "d1", "platform": "web",
		}, "X-Forwarded-For", from)
	}
	for i := range 5 {
		try("198.51.100.1", fmt.Sprint("nobody", i), "wrong").refused("within the address's burst", im.Unauthenticated)
	}
	for range 10 {
		try("198.51.100.1", "alice", "wrong").refused("beyond it", im.RateLimited)
	}
	try("198.51.100.2", "alice", "password-alice").ok("alice, from elsewhere", 200)
}

// An attempt that is refused for its name is no failed log-in from the address.
func TestARefusedNameUsesUpNoAddress(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.LoginsPerName, c.LoginsPerAddress = Rate{1, time.Hour}, Rate{5, time.Hour} })
	w.signUp("alice", "d1", "web")
	w.logIn("bob", "wrong", "d1", "web").refused("within the name's burst", im.Unauthenticated)
	for range 10 {
		w.logIn("bob", "wrong", "d1", "web").refused("beyond it", im.RateLimited)
	}
	w.logIn("alice", "password-alice", "d1", "web").ok("alice, from the same address", 200)
}

// A request that does not end is cut when the server's time to stop is over; that is
// no failure of the stop.
func TestAStopCutsStalledRequests(t *testing.T) {
	w := newWorld(t)
	if err := w.server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	working, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	w.store.fail = func(string) error {
		working <- struct{}{}
		<-release
		return errors.New("too late")
	}
	conn, err := net.Dial("tcp", w.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"username":"alice","password":"12345678"}`
	fmt.Fprintf(conn, "POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	<-working
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.server.Stop(ended); err != nil {
		t.Errorf("stop: %v", err)
	}
	if !strings.Contains(w.log.String(), "some requests did not end in time") {
		t.Error("the log does not say it")
	}
}

func proxies(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// Each registration costs a hash and a row for good, so an address has only so many.
func TestRegistrationsFromAnAddressAreLimited(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Proxies = proxies("192.0.2.1/32") }) // httptest's peer
	register := func(from string, n int) said {
		return w.call("POST", "/v1/users", "", map[string]string{
			"username": fmt.Sprint("user", n), "password": "12345678",
		}, "X-Forwarded-For", from)
	}
	for n := range 30 {
		register("198.51.100.1", n).ok("within the burst", 201)
	}
	register("198.51.100.1", 30).refused("beyond it", im.RateLimited)
	register("198.51.100.2", 30).ok("from elsewhere", 201)
	w.clock.pass(2 * time.Second)
	register("198.51.100.1", 31).ok("one more later", 201)
	register("198.51.100.1", 32).refused("but one", im.RateLimited)
}
