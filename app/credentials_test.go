package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/im-transfer/im/configs"
)

const clusterPatience = 20 * time.Second

// text is a log that tests read.
type text struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *text) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func newText() (*text, *slog.Logger) {
	w := &text{}
	return w, slog.New(slog.NewTextHandler(w, nil))
}

func clusterOf(secret string) configs.Cluster {
	return configs.Cluster{Secret: configs.Secret(strings.Repeat(secret, 32))}
}

// serveCluster serves gRPC's health service, which has a unary call and a stream,
// and returns its address.
func serveCluster(t *testing.T, c configs.Cluster, log *slog.Logger) string {
	t.Helper()
	options, stop, err := serverCredentials(c, "127.0.0.1:0", time.Now, log)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	healthv1.RegisterHealthServer(server, health.NewServer())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		server.Stop()
		running.Wait()
		if err := stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// dialCluster returns a client as a server configured so would be.
func dialCluster(t *testing.T, address string, c configs.Cluster) healthv1.HealthClient {
	t.Helper()
	options, stop, err := dialCredentials(c, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return dialWith(t, address, options...)
}

func dialWith(t *testing.T, address string, options ...grpc.DialOption) healthv1.HealthClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthv1.NewHealthClient(conn)
}

// unaryAndStream makes a call of each kind.
func unaryAndStream(t *testing.T, client healthv1.HealthClient) map[string]error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clusterPatience)
	defer cancel()
	_, unary := client.Check(ctx, &healthv1.HealthCheckRequest{})
	stream, err := client.Watch(ctx, &healthv1.HealthCheckRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	return map[string]error{"unary call": unary, "stream": err}
}

func wantCode(t *testing.T, client healthv1.HealthClient, want codes.Code) {
	t.Helper()
	for kind, err := range unaryAndStream(t, client) {
		if got := status.Code(err); got != want {
			t.Errorf("%s: %v, want %s", kind, err, want)
		}
		if want == codes.Unauthenticated && !strings.HasPrefix(status.Convert(err).Message(), notAuthenticated) {
			t.Errorf("%s: tells %q", kind, err)
		}
	}
}

func TestServersDemandTheClustersCredential(t *testing.T) {
	written, log := newText()
	address := serveCluster(t, clusterOf("a"), log)
	wantCode(t, dialCluster(t, address, clusterOf("a")), codes.OK)
	if written.String() != "" {
		t.Fatalf("logged: %s", written)
	}
	wantCode(t, dialCluster(t, address, clusterOf("b")), codes.Unauthenticated)
	wantCode(t, dialWith(t, address, insecurely()), codes.Unauthenticated)
	if got := strings.Count(written.String(), "\n"); got != 1 || !strings.Contains(written.String(), "from=127.0.0.1 ") {
		t.Fatalf("one line for one host, but: %s", written)
	}
}

// A call to what does not exist learns no more than any other.
func TestNothingIsToldWithoutACredential(t *testing.T) {
	_, log := newText()
	address := serveCluster(t, clusterOf("a"), log)
	conn, err := grpc.NewClient("passthrough:///"+address, insecurely())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), clusterPatience)
	defer cancel()
	err = conn.Invoke(ctx, "/im.v1.Nothing/At", &healthv1.HealthCheckRequest{}, &healthv1.HealthCheckResponse{})
	if status.Code(err) != codes.Unauthenticated {
		t.Fatal(err)
	}
}

func TestWhatIsNoCredential(t *testing.T) {
	keys, err := newClusterKeys(clusterOf("a").Secret)
	if err != nil {
		t.Fatal(err)
	}
	key, now := keys[0], time.Unix(1_800_000_000, 0)
	g := guard{keys: keys, now: func() time.Time { return now }}
	good := key.make(now)
	for _, c := range []struct {
		name  string
		shown []string
		says  string
	}{
		{"none", nil, "0 credentials"},
		{"two", []string{good, good}, "2 credentials"},
		{"empty", []string{""}, "none"},
		{"another scheme", []string{"Bearer " + strings.TrimPrefix(good, credentialScheme+" ")}, "none"},
		{"without a time", []string{credentialScheme + " " + good[len(good)-64:]}, "none"},
		{"without a MAC", []string{strings.Split(good, ".")[0] + "."}, "another secret"},
		{"with half a MAC", []string{good[:len(good)-32]}, "another secret"},
		{"a long time", []string{credentialScheme + " " + strings.Repeat("1", 30) + ".00"}, "none"},
		{"a time changed", []string{strings.Replace(good, "18", "19", 1)}, "another secret"},
		{"old", []string{key.make(now.Add(-credentialLife - time.Second))}, "clocks are 5m1s apart"},
		{"of the future", []string{key.make(now.Add(credentialLife + time.Second))}, "clocks are -5m1s apart"},
		{"good", []string{good}, ""},
		{"just good", []string{key.make(now.Add(-credentialLife))}, ""},
	} {
		err := g.judge(metadata.MD{credentialHeader: c.shown})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestNobodyStartsWithoutASecret(t *testing.T) {
	_, log := newText()
	if _, _, err := serverCredentials(configs.Cluster{}, "127.0.0.1:0", time.Now, log); err == nil || !strings.Contains(err.Error(), "cluster.secret") {
		t.Errorf("server: %v", err)
	}
	if _, _, err := dialCredentials(configs.Cluster{}, time.Now, log); err == nil || !strings.Contains(err.Error(), "cluster.secret") {
		t.Errorf("client: %v", err)
	}
}

// The secret is changed in three rounds of restarts, and servers of two neighbouring
// rounds understand each other: the new one is added, comes first, and is alone.
func TestTheSecretIsChangedServerByServer(t *testing.T) {
	two := func(first, second string) configs.Cluster {
		c := clusterOf(first)
		c.Secret += "\n" + clusterOf(second).Secret
		return c
	}
	rounds := []configs.Cluster{clusterOf("a"), two("a", "b"), two("b", "a"), clusterOf("b")}
	_, log := newText()
	for i, server := range rounds {
		address := serveCluster(t, server, log)
		for j, client := range rounds {
			want := codes.OK
			if i == 0 && j >= 2 || i == 3 && j <= 1 {
				want = codes.Unauthenticated
			}
			t.Run(fmt.Sprint(i, " called by ", j), func(t *testing.T) { wantCode(t, dialCluster(t, address, client), want) })
		}
	}
}

func TestAnOpenListenerWithoutTLSIsWarnedOf(t *testing.T) {
	for address, warned := range map[string]bool{
		"127.0.0.1:1": false, "[::1]:1": false, "localhost:1": false, "0.0.0.0:1": true, ":1": true, "10.0.0.1:1": true,
	} {
		written, log := newText()
		if _, _, err := serverCredentials(clusterOf("a"), address, time.Now, log); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(written.String(), "cluster.tls_cert_file"); got != warned {
			t.Errorf("%s: %s", address, written)
		}
	}
}

// What a host is refused for is remembered, but not for any number of hosts.
func TestRefusedHostsAreBounded(t *testing.T) {
	g := guard{refused: map[string]bool{}}
	for i := range 3 * maxRefused {
		host := time.Duration(i).String()
		if !g.first(host) || g.first(host) {
			t.Fatal("logged not once")
		}
		if len(g.refused) > maxRefused {
			t.Fatalf("%d are remembered", len(g.refused))
		}
	}
}
