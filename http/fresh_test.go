package http

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A stop waits for requests, not for connections that somebody has opened ahead of
// need: net/http alone would wait for these for five seconds.
func TestAStopDoesNotWaitForSilentConnections(t *testing.T) {
	w := newWorld(t)
	if err := w.server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", w.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	var silent []net.Conn
	for range 5 {
		silent = append(silent, dial())
	}
	used := dial() // accepted after them
	if _, err := used.Write([]byte("GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(used), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("answered %v, %v", answer, err)
	}

	began := time.Now()
	if err := w.server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*time.Second || strings.Contains(w.log.String(), "did not end in time") {
		t.Errorf("it took %s; logged %s", took, w.log)
	}
	for _, conn := range silent {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("a silent connection got %d bytes", n)
		}
	}
}
