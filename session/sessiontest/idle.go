package sessiontest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/session"
)

// otherSide, in the environment, makes a test binary the other side of
// IdleMemory: a transfer, and the clients of a server whose address it reads.
const otherSide = "IM_TEST_OTHER_SIDE"

// OtherSide is for TestMain: in the process that IdleMemory starts it plays the
// transfer and the clients, and returns true when that is done.
func OtherSide(dial func(address string) Wire, form wire.Form) bool {
	n, err := strconv.Atoi(os.Getenv(otherSide))
	if err != nil {
		return false
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	c := &Cluster{inboxes: map[string]*inbox{}, epoch: Epoch, sent: nil}
	c.transfers = []*Transfer{serve(c, "transfer", listener)}
	for q := range int32(Partitions) {
		c.transfers[0].owned[q] = 1
	}
	fmt.Fprintln(os.Stdout, listener.Addr())
	lines := bufio.NewScanner(os.Stdin)
	lines.Scan()
	clients := logIn(n, func() Wire { return dial(lines.Text()) }, form)
	fmt.Fprintln(os.Stdout, "ready")
	lines.Scan() // until the parent closes
	runtime.KeepAlive(clients)
	return true
}

func logIn(n int, dial func() Wire, form wire.Form) []*Client {
	clients := make([]*Client, 0, n)
	for i := range n {
		c := &Client{T: &testing.B{}, Wire: dial(), Form: form}
		c.Login(fmt.Sprintf("a-user-with-26-characters-%d", i), "a-device-of-24-characters")
		clients = append(clients, c)
	}
	return clients
}

// IdleMemory measures what n idle connections of a server take in this process,
// the transfer and the clients being in another one. start serves a hub and
// returns its address.
func IdleMemory(b *testing.B, start func(hub *session.Hub) string) {
	const n = 8000
	cmd := exec.Command(os.Args[0], "-test.run=^$") //nolint:gosec // this test itself
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", otherSide, n))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	hub := hubTo(b, lines.Text())
	address := start(hub)
	before := memory()
	fmt.Fprintln(in, address)
	if lines.Scan(); lines.Text() != "ready" || hub.Connections() != n {
		b.Fatalf("%q, %d connections", lines.Text(), hub.Connections())
	}
	resident := residentBytes() // as the log-ins have left it
	after := memory()
	b.ReportMetric(float64(after.live-before.live)/n, "go-B/conn")
	b.ReportMetric(float64(after.stacks-before.stacks)/n, "stack-B/conn")
	b.ReportMetric(float64(resident-before.resident)/n, "peak-rss-B/conn")
	b.ReportMetric(float64(after.resident-before.resident)/n, "rss-B/conn")
	in.Close()
	cmd.Wait() //nolint:errcheck // it has done its part
	Eventually(b, func() bool { return hub.Connections() == 0 })
}

// hubTo is a hub whose link has one transfer.
func hubTo(b *testing.B, transfer string) *session.Hub {
	link := session.NewLink(session.LinkConfig{
		ServerID: im.NewID(), Role: "test", InboxPartitions: Partitions, Servers: only(transfer),
		Dial: func(_ context.Context, address string) (grpc.ClientConnInterface, error) {
			return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		},
	}, Log())
	if err := link.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stopWithin(b, link.Stop) })
	hub := session.NewHub(session.Config{}, link, Log())
	b.Cleanup(func() { stopWithin(b, hub.Stop) })
	if err := link.AwaitReady(b.Context()); err != nil {
		b.Fatal(err)
	}
	return hub
}

// only is a list of one transfer.
type only string

// Watch returns it.
func (o only) Watch(context.Context, string) (<-chan []im.Server, error) {
	list := make(chan []im.Server, 1)
	list <- []im.Server{{ID: "transfer", Role: "transfer", Address: string(o)}}
	return list, nil
}

type usage struct{ live, stacks, resident int64 }

// memory is what is in use after a collection.
func memory() usage {
	debug.FreeOSMemory() // collects, sweeps and gives back
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{int64(m.HeapAlloc + m.StackInuse), int64(m.StackInuse), residentBytes()} //nolint:gosec // sizes
}

func residentBytes() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}
