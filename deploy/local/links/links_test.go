package links

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 10 * time.Second
	moment   = 150 * time.Millisecond // for what is not to happen
)

// echo is a server that answers what it is told, and shows it.
type echo struct {
	address string
	heard   chan string
}

func givenAnEcho(t *testing.T) *echo {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	e := &echo{address: listener.Addr().String(), heard: make(chan string, 100)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go e.serve(conn)
		}
	}()
	return e
}

func (e *echo) serve(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 1<<20)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		select {
		case e.heard <- string(buffer[:n]):
		default: // nobody wants to know
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// givenALink returns a link to a server, and its address.
func givenALink(t *testing.T, target string) (*Link, string) {
	t.Helper()
	l := New(target)
	t.Cleanup(l.Close)
	address, err := l.Listen()
	if err != nil {
		t.Fatal(err)
	}
	return l, address
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func says(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func hears(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("heard %q, %v, want %q", got, err, text)
	}
}

// hearsNothing makes sure that nothing comes, for a moment.
func hearsNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(moment))
	n, err := conn.Read(make([]byte, 1))
	conn.SetReadDeadline(time.Now().Add(patience))
	var timeout net.Error
	if n > 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("heard %d bytes, %v, want nothing", n, err)
	}
}

// isRefused makes sure that a connection is reset as soon as it is made, or before
// whoever makes it has been told.
func isRefused(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		_, err = io.ReadAll(conn)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("it ends with %v, want a reset", err)
	}
}

func isReset(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("reading ends with %v, want a reset", err)
	}
}

// What a sound link is given arrives whole on the other side, also what is sent
// after one direction has been closed.
func TestASoundLinkPassesEverything(t *testing.T) {
	l, address := givenALink(t, givenAnEcho(t).address)
	conn := dial(t, address)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // more than fits into what may be on its way
	go func() {
		conn.Write(sent)                 //nolint:errcheck // what is missing is missed below
		conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // likewise
	}()

	got, err := io.ReadAll(conn)

	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("got %d bytes of %d, %v", len(got), len(sent), err)
	}
	if there, back := l.Passed(); there != int64(len(sent)) || back != int64(len(sent)) {
		t.Errorf("%d bytes have passed, %d came back", there, back)
	}
}

func TestACutLinkResetsWhatStandsAndWhatComes(t *testing.T) {
	l, address := givenALink(t, givenAnEcho(t).address)
	before := dial(t, address)
	says(t, before, "a")
	hears(t, before, "a")

	l.Set(Fault{Cut: true})

	isReset(t, before)
	isRefused(t, address)
	l.Mend()
	after := dial(t, address)
	says(t, after, "b")
	hears(t, after, "b")
}

// Nothing passes a black hole and nobody is told. When it is one no longer, what was
// sent arrives.
func TestABlackHoleKeepsWhatIsSent(t *testing.T) {
	e := givenAnEcho(t)
	l, address := givenALink(t, e.address)
	before := dial(t, address)
	says(t, before, "a")
	hears(t, before, "a")
	<-e.heard

	l.Set(BlackHole())

	during := dial(t, address)
	says(t, before, "b")
	says(t, during, "c")
	hearsNothing(t, before)
	hearsNothing(t, during)
	if len(e.heard) > 0 {
		t.Fatalf("%q has passed", <-e.heard)
	}
	l.Mend()
	hears(t, before, "b")
	hears(t, during, "c")
}

// The end of a connection passes a black hole as little as anything else.
func TestABlackHoleKeepsTheEndOfAConnection(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l, address := givenALink(t, server.Addr().String())
	near := dial(t, address)
	far, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	far.SetDeadline(time.Now().Add(patience))

	l.Set(BlackHole())
	abort(near.(*net.TCPConn))

	hearsNothing(t, far)
	l.Mend()
	isReset(t, far)
}

func TestALinkThatIsCutInOneDirection(t *testing.T) {
	e := givenAnEcho(t)
	l, address := givenALink(t, e.address)
	conn := dial(t, address)

	l.Set(Fault{Back: Way{Held: true}})

	says(t, conn, "a")
	if got := <-e.heard; got != "a" {
		t.Fatalf("%q has arrived", got)
	}
	hearsNothing(t, conn)
	l.Set(Fault{There: Way{Held: true}})
	hears(t, conn, "a")
	says(t, conn, "b")
	hearsNothing(t, conn)
}

func TestASlowLinkDelaysAndKeepsTheOrder(t *testing.T) {
	const delay = 100 * time.Millisecond
	l, address := givenALink(t, givenAnEcho(t).address)
	conn := dial(t, address)
	l.Set(Both(Way{Delay: delay, Jitter: 50 * time.Millisecond}))
	began := time.Now()

	for _, text := range []string{"a", "b", "c"} {
		says(t, conn, text)
	}

	hears(t, conn, "abc")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back took %s", took)
	}
}

func TestANarrowLinkTakesItsTime(t *testing.T) {
	l, address := givenALink(t, givenAnEcho(t).address)
	conn := dial(t, address)
	l.Set(Fault{There: Way{BytesPerSecond: 1 << 20}})
	began := time.Now()
	sent := string(bytes.Repeat([]byte("x"), 256<<10))

	go io.WriteString(conn, sent) //nolint:errcheck // what is missing is missed below

	hears(t, conn, sent)
	if took := time.Since(began); took < 200*time.Millisecond { // the last chunk has a free link behind it
		t.Errorf("a quarter of a MiB took %s at 1 MiB/s", took)
	}
}

// Whoever asks over a link that loses answers has what was asked for done, and is
// not told.
func TestALinkThatLosesAnswers(t *testing.T) {
	e := givenAnEcho(t)
	l, address := givenALink(t, e.address)
	conn := dial(t, address)
	l.Set(Fault{Lose: moment})
	answered := 0
	for {
		says(t, conn, "a")
		<-e.heard
		got := make([]byte, 1)
		if _, err := io.ReadFull(conn, got); err != nil {
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("reading ends with %v, want a reset", err)
			}
			break
		}
		answered++
	}
	t.Logf("%d answers came", answered)
	l.Mend()
	again := dial(t, address)
	says(t, again, "b")
	hears(t, again, "b")
}

func TestALinkWhoseTargetIsNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	_, address := givenALink(t, listener.Addr().String())

	isRefused(t, address)
}

// Through a gate a name leads to the link of whoever stands in front of it.
func TestAGateLeadsToLinksByName(t *testing.T) {
	e := givenAnEcho(t)
	l := New(e.address)
	defer l.Close()
	gate, err := OpenGate(t.Context(), func(host string) *Link {
		if host == "transfer-1" {
			return l
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()

	conn := connect(t, gate, "transfer-1:1")
	says(t, conn, "a")
	hears(t, conn, "a")
	if there, _ := l.Passed(); there != 1 {
		t.Errorf("%d bytes have passed", there)
	}
	at, err := url.Parse(gate.URL())
	if err != nil {
		t.Fatal(err)
	}
	stranger := dial(t, at.Host)
	says(t, stranger, "CONNECT elsewhere:1 HTTP/1.1\r\nHost: elsewhere:1\r\n\r\n")
	isReset(t, stranger)
	silent := dial(t, at.Host)
	gate.Close()
	if _, err := io.ReadAll(silent); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a silent one sees %v", err)
	}
}

// connect goes through a gate as gRPC does.
func connect(t *testing.T, gate *Gate, to string) net.Conn {
	t.Helper()
	at, err := url.Parse(gate.URL())
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, at.Host)
	request, err := http.NewRequestWithContext(context.Background(), http.MethodConnect, "http://"+to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := request.Write(conn); err != nil {
		t.Fatal(err)
	}
	hears(t, conn, "HTTP/1.1 200 OK\r\n\r\n")
	return conn
}
