package client

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// echoes is a server by both transports that gives back whatever it gets, and says how
// its connections ended.
func echoes(t *testing.T) (tcp, ws string, ended chan error) {
	ended = make(chan error, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, err = io.Copy(conn, conn)
			conn.Close()
			ended <- err
		}
	}()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer socket.Close()
		for {
			kind, message, err := socket.ReadMessage()
			if err == nil {
				err = socket.WriteMessage(kind, message)
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}))
	t.Cleanup(func() {
		web.Close()
		listener.Close()
		<-done
	})
	return "tcp://" + listener.Addr().String(), strings.Replace(web.URL, "http", "ws", 1), ended
}

func TestABareConnection(t *testing.T) {
	tcp, ws, ended := echoes(t)
	for _, c := range []struct {
		url  string
		form wire.Form
	}{{tcp, wire.Proto}, {tcp, wire.JSON}, {ws, wire.Proto}, {ws, wire.JSON}, {ws, wire.Text}} {
		for _, clean := range []bool{true, false} {
			conn, err := Dial(t.Context(), c.url, c.form)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Write(wire.OpAck, 7, &imv1.Ack{Seq: 41}); err != nil {
				t.Fatal(err)
			}
			frame, err := conn.Read()
			var ack imv1.Ack
			if err == nil {
				err = wire.Unmarshal(frame.Form, frame.Body, &ack)
			}
			if err != nil || frame.Form != conn.Form() || frame.Op != wire.OpAck || frame.Seq != 7 || ack.GetSeq() != 41 {
				t.Fatalf("%+v, %v", frame, err)
			}
			if clean {
				conn.Close()
			} else {
				conn.Reset()
			}
			err = <-ended
			orderly := err == nil || websocket.IsCloseError(err, websocket.CloseNormalClosure)
			if orderly != clean || !clean && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: ended with %v, wanted a clean end: %t", c.url, err, clean)
			}
			if _, err := conn.Read(); err == nil {
				t.Error("read from a connection that has ended")
			}
			if err := conn.Write(wire.OpAck, 8, &imv1.Ack{}); err == nil {
				t.Error("wrote to a connection that has ended")
			}
		}
	}
	if _, err := Dial(t.Context(), "udp://127.0.0.1:1", wire.Proto); err == nil {
		t.Error("an unknown scheme")
	}
	conn, err := Dial(t.Context(), tcp, wire.Proto)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	large := &imv1.Send{Content: TextContent(string(bytes.Repeat([]byte("x"), 70_000)))}
	if err := conn.Write(wire.OpSend, 1, large); err == nil {
		t.Error("a frame that no server takes")
	}
}
