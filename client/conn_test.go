package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// echo answers auth and every send, and delivers each send as an entry.
func echo(c conn, form wire.Form) {
	defer c.close()
	seq := int64(0)
	write := func(op wire.Op, sequence int32, body wire.Body) {
		data, err := wire.AppendMessage(nil, form, op, sequence, body)
		if err == nil {
			c.write(data, []int{len(data)}) //nolint:errcheck // the next read tells
		}
	}
	for {
		frame, err := c.read()
		if err != nil || frame.Form != form {
			return
		}
		switch frame.Op {
		case wire.OpAuth:
			write(wire.OpAuthReply, frame.Seq, &imv1.AuthReply{UserId: "alice"})
		case wire.OpSend:
			var send imv1.Send
			if unmarshal(frame, &send) != nil {
				return
			}
			seq++
			write(wire.OpSendAck, frame.Seq, &imv1.SendAck{ClientMsgId: send.ClientMsgId, ConversationSeq: seq})
			write(wire.OpDeliver, 0, &imv1.Deliver{Entries: []*imv1.Entry{{
				Seq: seq, Kind: "message", Message: &imv1.Message{Content: send.Content},
			}}})
		}
	}
}

// serveSocket is echo over WebSocket.
func serveSocket(t *testing.T, form wire.Form) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{}
		socket, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		echo(&socketConn{socket: socket, form: form}, form)
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
}

// oneByOne is a connection whose reads give a byte at a time.
type oneByOne struct{ net.Conn }

func (o oneByOne) Read(p []byte) (int, error) { return o.Conn.Read(p[:min(1, len(p))]) }

// serveTCP is echo over TCP.
func serveTCP(t *testing.T, form wire.Form) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			accepted, err := listener.Accept()
			if err != nil {
				return
			}
			slow := oneByOne{accepted}
			echo(&tcpConn{Conn: slow, reader: bufio.NewReaderSize(slow, 16)}, form)
		}
	}()
	t.Cleanup(func() { listener.Close(); <-ended })
	return "tcp://" + listener.Addr().String()
}

func TestEveryTransportSpeaksEveryForm(t *testing.T) {
	for _, c := range []struct {
		name, transport string
		form            wire.Form
		serve           func(*testing.T, wire.Form) string
	}{
		{"websocket protobuf", WebSocket, wire.Proto, serveSocket},
		{"websocket json", WebSocket, wire.JSON, serveSocket},
		{"websocket text", WebSocket, wire.Text, serveSocket},
		{"tcp protobuf", TCP, wire.Proto, serveTCP},
		{"tcp json", TCP, wire.JSON, serveTCP},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan string, 100)
			client, err := New(Config{
				URL: c.serve(t, c.form), Transport: c.transport, Form: c.form, DeviceID: "d", Platform: "web",
				Tokens: Tokens{AccessToken: "t"}, Handler: texts(got),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer closeClient(t, client)
			if err := client.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			var sendings []*Sending
			for range 50 {
				sending, err := client.SendAsync(t.Context(), ToUser("bob"), TextContent("héllo\n\"you\""), SendOptions{})
				if err != nil {
					t.Fatal(err)
				}
				sendings = append(sendings, sending)
			}
			for i, sending := range sendings {
				if ack, err := sending.Wait(t.Context()); err != nil || ack.ConversationSeq != int64(i+1) {
					t.Fatal(ack, err)
				}
				if text := <-got; text != "héllo\n\"you\"" {
					t.Fatalf("got %q", text)
				}
			}
		})
	}
}

// texts is a Handler that hands on the texts of messages.
type texts chan string

func (x texts) Entry(_ context.Context, entry *imv1.Entry) error {
	x <- entry.GetMessage().GetContent().GetText()
	return nil
}
func (texts) StartOver(context.Context, StartOver) error { return nil }
func (texts) Signal(context.Context, *imv1.Signal)       {}

func TestACloseCodeTellsTheReasonToo(t *testing.T) {
	err := closeReason(&websocket.CloseError{Code: 4007, Text: "superseded"})
	var end *EndError
	if !errors.As(err, &end) || end.Code != im.Superseded || end.Reconnect() {
		t.Fatal(err)
	}
	if err = closeReason(&websocket.CloseError{Code: 4019}); !errors.As(err, &end) || !end.Reconnect() {
		t.Fatal(err)
	}
	if err = closeReason(&websocket.CloseError{Code: 1006}); errors.As(err, &end) {
		t.Fatal(err)
	}
	if err = closeReason(io.EOF); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestABatchNeverExceedsAFrame(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		l := newLink(c, nil, Session{}, time.Second)
		defer l.cancel()
		c.mu.Lock()
		c.out.connected("alice")
		for range 20 {
			c.out.join("alice", c.out.add(newSend(ToUser("bob"), TextContent(strings.Repeat("x", 20000)), SendOptions{}), true))
		}
		c.mu.Unlock()
		frames := 0
		for frames < 20 {
			var b batch
			l.collect(&b)
			if len(b.bytes) == 0 || len(b.bytes) > maxBatch {
				t.Fatalf("a batch of %d bytes after %d frames", len(b.bytes), frames)
			}
			frames += len(b.ends)
		}
	})
}

// A gateway whose tcp server has a certificate names it with tls://, with and without a
// configuration of one's own.
func TestTLSOverTCP(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			accepted, err := listener.Accept()
			if err != nil {
				return
			}
			echo(&tcpConn{Conn: accepted, reader: bufio.NewReader(accepted)}, wire.Proto)
			accepted.Close()
		}
	})
	defer serving.Wait()
	defer listener.Close()
	for _, trusted := range []bool{true, false} {
		config := Config{
			URL: "tls://" + listener.Addr().String(), Tokens: Tokens{AccessToken: "t"}, DeviceID: "d", Platform: "web", Transport: TCP,
		}
		if trusted {
			config.TLS = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12}
		}
		config.fill()
		c, err := config.dial(t.Context(), config.URL)
		if trusted {
			if err != nil {
				t.Fatal(err)
			}
			c.close()
		} else if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
			t.Errorf("a server whom nobody vouches for: %v", err)
		}
	}
}
