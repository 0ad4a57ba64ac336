package bench

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/im-transfer/im"
)

func TestADeviceAsksForAnotherServerThanTheOneThatFailed(t *testing.T) {
	// Given two http servers, the first of which is away, and a device whose server has failed.
	alive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := "first"
		if r.URL.Query().Get("exclude") == id {
			id = "second"
		}
		respond(w, map[string]string{"server_id": id, "url": "tcp://127.0.0.1:1/" + r.Header.Get("Authorization")})
	}))
	defer alive.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	g, err := newGateways(&Config{Server: gone.URL + ", " + alive.URL, Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	d := &device{transport: TCP, token: "token"}

	// When it asks before and after that.
	before, err := g.find(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	d.failed = before.id
	after, err := g.find(t.Context(), d)

	// Then it is told two servers, by the http server that lives.
	if err != nil || before.id != "first" || after.id != "second" || after.url.Path != "/Bearer token" {
		t.Fatalf("got %+v, then %+v, %v", before, after, err)
	}
}

func TestWhoComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		welcomed bool
		want     bool
	}{
		"a connection that broke":           {io.EOF, true, true},
		"a first connection that broke":     {io.EOF, false, false},
		"asked to reconnect":                {&disconnect{code: im.Draining, reconnect: true}, false, true},
		"told to stay away":                 {&disconnect{code: im.Replaced}, true, false},
		"refused for now, at the beginning": {im.Errorf(im.Unavailable, "later"), false, true},
		"refused for good":                  {im.Errorf(im.Unauthenticated, "never"), true, false},
		"no server that could be told":      {errors.Join(io.EOF, im.Errorf(im.Unavailable, "none lives")), true, true},
	} {
		if got := comesBack(c.err, c.welcomed); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
