package app

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/im-transfer/im/configs"
)

// Whoever looks at the log of a server that can not reach a transfer is told which
// setting is wrong, on which side.
func TestWhatIsWrongBetweenServersIsSaidByTheCaller(t *testing.T) {
	ours, foreign := newAuthority(t), newAuthority(t)
	written, log := newText()
	server := ours.sign(t, t.TempDir(), 1)
	secured, plain := serveCluster(t, server, log), serveCluster(t, clusterOf("a"), log)
	good := ours.sign(t, t.TempDir(), 2)
	wrongSecret := good
	wrongSecret.Secret = clusterOf("b").Secret
	stranger := foreign.sign(t, t.TempDir(), 3)
	writePEM(t, stranger.CAFile, "CERTIFICATE", ours.certificate.Raw)
	distrusting := ours.sign(t, t.TempDir(), 4)
	writePEM(t, distrusting.CAFile, "CERTIFICATE", foreign.certificate.Raw)
	for _, c := range []struct {
		name    string
		address string
		caller  configs.Cluster
		says    string
	}{
		{"another secret", secured, wrongSecret, "cluster.secret (IM_CLUSTER_SECRET, "},
		{"another secret without TLS", plain, clusterOf("b"), "cluster.secret (IM_CLUSTER_SECRET, "},
		{"a certificate of others", secured, stranger, "cluster.tls_ca_file there"},
		{"others' authority", secured, distrusting, "cluster.tls_ca_file here"},
		{"no TLS", secured, clusterOf("a"), "cluster.tls_cert_file must be set on all servers or on none"},
		{"TLS alone", plain, good, "this server speaks TLS and the transfer does not"},
		{"nobody", "127.0.0.1:1", good, "transfer.advertise"},
	} {
		explain := explainer(c.caller, time.Now)
		for kind, err := range unaryAndStream(t, dialCluster(t, c.address, c.caller)) {
			if got := explain(err); !strings.Contains(got, c.says) {
				t.Errorf("%s, %s: %q of %v, want %q in it", c.name, kind, got, err, c.says)
			}
		}
	}
	if !strings.Contains(written.String(), "refused a connection that is not the cluster's TLS") {
		t.Errorf("the transfer's log: %s", written)
	}
}

// A clock that is off is told from a secret that is wrong.
func TestAClockThatIsOffIsSaidByTheCaller(t *testing.T) {
	_, log := newText()
	address := serveCluster(t, clusterOf("a"), log)
	keys, err := newClusterKeys(clusterOf("a").Secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []time.Duration{-7 * time.Minute, 7 * time.Minute} {
		now := func() time.Time { return time.Now().Add(off) }
		client := dialWith(t, address, grpc.WithPerRPCCredentials(credential{keys[0], now}), insecurely())
		for kind, err := range unaryAndStream(t, client) {
			got := explainer(clusterOf("a"), now)(err)
			if !strings.Contains(got, "are 7m") && !strings.Contains(got, "are 6m59s") || !strings.Contains(got, "set them right") {
				t.Errorf("%s, off by %s: %q of %v", kind, off, got, err)
			}
		}
	}
}
