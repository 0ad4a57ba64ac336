package session

import (
	"io"
	"net"
	"testing"
)

func TestAConnectionThatIsGone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, c := range map[string]struct {
		end  func(*net.TCPConn)
		gone bool
	}{
		"alive":       {func(*net.TCPConn) {}, false},
		"closed":      {func(c *net.TCPConn) { c.Close() }, true},
		"half closed": {func(c *net.TCPConn) { c.CloseWrite() }, true}, //nolint:errcheck // the assertion tells
		"reset": {func(c *net.TCPConn) {
			c.SetLinger(0) //nolint:errcheck // the assertion tells
			c.Close()
		}, true},
	} {
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client.Write([]byte("auth and more")) //nolint:errcheck // the read tells
		if _, err := io.ReadFull(server, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		c.end(client.(*net.TCPConn))
		if got := gone(server); got != c.gone {
			t.Errorf("%s: %t", name, got)
		}
	}
	pipe, other := net.Pipe()
	other.Close()
	if gone(pipe) {
		t.Error("of a pipe nothing is known")
	}
}
