package test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// garbage is what strangers send; some of it is whole, and none of it is good.
func garbage(t *testing.T) []struct {
	websocket bool
	bytes     []byte
} {
	t.Helper()
	auth, err := wire.AppendMessage(nil, wire.Proto, wire.OpAuth, 1, &imv1.Auth{Token: strings.Repeat("x", 2000), DeviceId: "d", Platform: "ios"})
	if err != nil {
		t.Fatal(err)
	}
	upgrade := "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	upgraded := upgrade + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	// A masked frame with a mask of zeros.
	frame := func(head byte, payload string) []byte {
		return append([]byte(upgraded), append([]byte{head, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)...)
	}
	return []struct {
		websocket bool
		bytes     []byte
	}{
		{false, nil},
		{false, []byte{0}},
		{false, auth[:len(auth)/2]},
		{false, auth},
		{false, bytes.Repeat([]byte{0xff}, 4096)},
		{false, bytes.Repeat([]byte{0}, 64)},
		{false, header(math.MaxInt32, 16, 2, 7)},
		{false, header(-1, 16, 2, 7)},
		{false, header(16, -1, 2, 7)},
		{false, header(15, 16, 2, 7)},
		{false, header(65537, 16, 2, 7)},
		{false, header(65536, 16, 2, 7)}, // and no body
		{false, header(16, 16, 1, 7)},
		{false, header(16, 16, 9, 7)},
		{false, header(16, 16, 2, 99)},
		{false, []byte("GET / HTTP/1.1\r\n\r\n")},
		{true, []byte("GET /ws HTTP/1.1\r\n")},
		{true, []byte(upgrade)},
		{true, []byte(upgrade + "\r\n")},
		{true, []byte(upgraded)},
		{true, frame(0x81, `{"op":`)},
		{true, frame(0x81, `{"op":"auth","seq":1,"body":{"token":"x","device_id":"d","platform":"web"}}`)},
		{true, frame(0x82, "half a frame")},
		{true, frame(0x01, "a fragment")},
		{true, append([]byte(upgraded), 0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)},
		{true, frame(0x83, "an unknown opcode")},
		{true, frame(0x89, "a ping")},
	}
}

// stranger sends something, perhaps in pieces, and leaves in one of several ways.
func (s *server) stranger(ctx context.Context, overWebSocket bool, data []byte, i int) error {
	address := s.tcp
	if overWebSocket {
		address = strings.TrimSuffix(strings.TrimPrefix(s.ws, "ws://"), "/ws")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if i%3 == 0 && len(data) < 200 { // a byte at a time
		for j := range data {
			if _, err := conn.Write(data[j : j+1]); err != nil {
				return nil // the server has seen enough
			}
		}
	} else {
		conn.Write(data) //nolint:errcheck // as above
	}
	switch i % 4 {
	case 0: // gone without reading
	case 1: // a reset
		conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // best effort
	default: // it says that it is done and reads what comes
		conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // it may be gone
		buffer := make([]byte, 4096)
		for {
			if _, err := conn.Read(buffer); err != nil {
				break
			}
		}
	}
	return nil
}

// Thousands of strangers come and go; a pair that chats meanwhile notices nothing,
// and afterwards the server is as it was. Not parallel: it measures this process.
func TestGarbageLeavesNoTrace(t *testing.T) {
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	r := record(t, s)
	alice := r.device(users[0], "a", "web", textSocket)
	bob := r.device(users[1], "b", "ios", binaryTCP)
	kinds := garbage(t)
	rounds := func(n int) {
		var strangers sync.WaitGroup
		for worker := range 16 {
			strangers.Go(func() {
				for i := worker; i < n; i += 16 {
					kind := kinds[i%len(kinds)]
					if err := s.stranger(t.Context(), kind.websocket, kind.bytes, i/len(kinds)); err != nil {
						t.Errorf("stranger %d: %v", i, err)
					}
				}
			})
		}
		strangers.Wait()
	}
	chat := func(n int) time.Duration {
		slowest := time.Duration(0)
		for range n {
			began := time.Now()
			alice.say(bob.userID, 1)
			bob.say(alice.userID, 1)
			alice.untilAcked()
			bob.untilAcked()
			slowest = max(slowest, time.Since(began))
		}
		return slowest
	}
	rounds(400) // pools and crews grow to their working size
	chat(5)
	goroutines, heap := settled(t, 0, 0)

	done := make(chan struct{})
	go func() { defer close(done); rounds(3000) }()
	slowest, said := time.Duration(0), 0
	for chatting := true; chatting; {
		slowest, said = max(slowest, chat(1)), said+1
		select {
		case <-done:
			chatting = false
		default:
		}
	}
	alice.untilMessages(2 * (said + 5))
	bob.untilMessages(2 * (said + 5))
	if slowest > 3*time.Second {
		t.Errorf("a message took %v while strangers came", slowest)
	}
	// Sessions keep some goroutines and buffers to use again; a leak would show as
	// thousands of the ones, and a hundred times as much of the others.
	const moreGoroutines, moreHeap = 100, 4 << 20
	afterwards, heapNow := settled(t, goroutines+moreGoroutines, heap+moreHeap)
	t.Logf("%d rounds of chat, the slowest %v; goroutines %d, then %d; heap %d KiB, then %d KiB",
		said, slowest, goroutines, afterwards, heap>>10, heapNow>>10)
	r.judge()
}

// settled returns the goroutines and the heap's bytes of this process once they
// have fallen to these bounds, or fails the test; with 0 it takes them as they are
// when goroutines have stopped ending.
func settled(t *testing.T, goroutines int, heap uint64) (int, uint64) {
	t.Helper()
	deadline := time.After(patience)
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	before, calm := math.MaxInt, 0
	for {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		now := runtime.NumGoroutine()
		if goroutines == 0 {
			if calm++; now < before {
				calm = 0
			}
			if before = min(before, now); calm > 50 {
				return now, stats.HeapAlloc
			}
		} else if now <= goroutines && stats.HeapAlloc <= heap {
			return now, stats.HeapAlloc
		}
		select {
		case <-every.C:
		case <-deadline:
			t.Fatalf("%d goroutines, at most %d are expected; heap of %d bytes, at most %d", now, goroutines, stats.HeapAlloc, heap)
		}
	}
}

// A device that never acknowledges, and one that never reads, cost themselves only.
func TestADeafDeviceHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := startHere(t, map[string]string{"session.window": "10"})
	users := s.users("alice", "bob")
	deaf, _ := s.phone(t, s.tokens(users[1], "deaf", "ios"), "deaf")
	mute, _ := s.raw(t, true, wire.Text, authOf(s.tokens(users[1], "mute", "web"), "mute", "web"))
	r := record(t, s)
	alice := r.device(users[0], "a", "web", textSocket)
	bob := r.device(users[1], "b", "tablet", binaryTCP)
	alice.say(bob.userID, 300)
	bob.untilMessages(300)
	mute.until("a window", func() bool { return len(mute.entries) >= 10 })
	mute.heartbeat()
	if n := len(mute.entries); n != 10 {
		t.Errorf("%d entries are out, the window is 10", n)
	}
	for len(mute.entries) < 300 {
		mute.send(wire.OpAck, &imv1.Ack{Seq: mute.last()})
		n := len(mute.entries)
		mute.until(fmt.Sprint("more than ", n), func() bool { return len(mute.entries) > n })
	}
	mute.contiguous(0)
	deaf.send(wire.OpAck, &imv1.Ack{Seq: 1 << 40})
	deaf.endsWith(im.ProtocolError)
	alice.untilMessages(300) // her own copies
	r.judge()
}
