package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/im-transfer/im/configs"
)

func insecurely() grpc.DialOption { return grpc.WithTransportCredentials(insecure.NewCredentials()) }

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

func writePEM(t *testing.T, path, kind string, body []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: body}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sign puts a certificate for 127.0.0.1 with the given serial number, its key and
// the authority into a directory, and returns the settings that name them.
func (a *authority) sign(t *testing.T, dir string, serial int64) configs.Cluster {
	t.Helper()
	key := newKey(t)
	body, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := clusterOf("a")
	c.CertFile, c.KeyFile, c.CAFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")
	writePEM(t, c.KeyFile, "PRIVATE KEY", encoded)
	writePEM(t, c.CertFile, "CERTIFICATE", body)
	writePEM(t, c.CAFile, "CERTIFICATE", a.certificate.Raw)
	return c
}

// serialOf is the serial number of what a gRPC server shows at a new connection.
func serialOf(t *testing.T, address string, c configs.Cluster) int64 {
	t.Helper()
	source, stop, err := openClusterCertificates(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop(context.Background()) //nolint:errcheck // it never fails
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, info, err := newClusterTLS(source).ClientHandshake(t.Context(), address, conn)
	if err != nil {
		t.Fatal(err)
	}
	state := info.(credentials.TLSInfo).State
	if state.Version != tls.VersionTLS13 {
		t.Fatalf("TLS version %x", state.Version)
	}
	return state.PeerCertificates[0].SerialNumber.Int64()
}

func TestBothSidesVerifyEachOther(t *testing.T) {
	ours, foreign := newAuthority(t), newAuthority(t)
	server := ours.sign(t, t.TempDir(), 1)
	_, log := newText()
	address := serveCluster(t, server, log)
	wantCode(t, dialCluster(t, address, ours.sign(t, t.TempDir(), 2)), codes.OK)

	wrongSecret := ours.sign(t, t.TempDir(), 3)
	wrongSecret.Secret = clusterOf("b").Secret
	wantCode(t, dialCluster(t, address, wrongSecret), codes.Unauthenticated)

	// The certificates of another authority, to a server that the client trusts.
	stranger := foreign.sign(t, t.TempDir(), 4)
	writePEM(t, stranger.CAFile, "CERTIFICATE", ours.certificate.Raw)
	wantCode(t, dialCluster(t, address, stranger), codes.Unavailable)

	// The right certificate, but the server's is of an authority that is not trusted.
	distrusting := ours.sign(t, t.TempDir(), 5)
	writePEM(t, distrusting.CAFile, "CERTIFICATE", foreign.certificate.Raw)
	wantCode(t, dialCluster(t, address, distrusting), codes.Unavailable)

	// The right secret without TLS, and with TLS but without a certificate.
	wantCode(t, dialCluster(t, address, clusterOf("a")), codes.Unavailable)
	roots := x509.NewCertPool()
	roots.AddCert(ours.certificate)
	keys, err := newClusterKeys(clusterOf("a").Secret)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, dialWith(t, address, grpc.WithPerRPCCredentials(credential{keys[0], time.Now}),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots}))), codes.Unavailable)
}

// Certificates are replaced, broken and replaced again under a stream that goes on.
func TestCertificatesChangeUnderALiveStream(t *testing.T) {
	ours := newAuthority(t)
	dir, clientDir := t.TempDir(), t.TempDir()
	server, client := ours.sign(t, dir, 1), ours.sign(t, clientDir, 2)
	written, log := newText()
	address := serveCluster(t, server, log)
	calls := dialCluster(t, address, client)
	ctx, cancel := context.WithTimeout(t.Context(), clusterPatience)
	defer cancel()
	stream, err := calls.Watch(ctx, &healthv1.HealthCheckRequest{Service: "nothing"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}

	if got := serialOf(t, address, client); got != 1 {
		t.Fatalf("serial %d", got)
	}
	if err := os.WriteFile(server.CertFile, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return strings.Contains(written.String(), "can not be used") })
	if got := serialOf(t, address, client); got != 1 {
		t.Fatalf("serial %d with a broken file", got)
	}
	ours.sign(t, dir, 7)
	eventually(t, func() bool { return serialOf(t, address, client) == 7 })

	// Both sides change to another authority: new calls over the old connection go
	// on, and new connections are made with the new certificates.
	next := newAuthority(t)
	next.sign(t, dir, 8)
	next.sign(t, clientDir, 9)
	eventually(t, func() bool {
		_, err := dialCluster(t, address, client).Check(ctx, &healthv1.HealthCheckRequest{})
		return err == nil
	})
	eventually(t, func() bool { return strings.Contains(written.String(), "serial=8") })
	if _, err := calls.Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
		t.Fatalf("a call over the old connection: %v", err)
	}
	received := make(chan error, 1)
	go func() { _, err := stream.Recv(); received <- err }()
	select {
	case err := <-received:
		t.Fatalf("the stream has ended: %v", err)
	default:
	}
	cancel()
	if err := <-received; status.Code(err) != codes.Canceled {
		t.Fatalf("the stream had ended before: %v", err)
	}
}

// eventually waits for something that nobody announces.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(clusterPatience); !done(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it never happened")
		}
	}
}

func TestListenersForClients(t *testing.T) {
	dir := t.TempDir()
	c := newAuthority(t).sign(t, dir, 1)
	log := slog.New(slog.DiscardHandler)
	config, stop, err := listenerTLS(c.TLS, "http", log)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(context.Background()) //nolint:errcheck // it never fails
	if shown, err := config.GetCertificate(nil); err != nil || shown.Leaf.SerialNumber.Int64() != 1 || config.ClientAuth != tls.NoClientCert {
		t.Fatalf("%v, %v", shown, err)
	}
	if config, _, err := listenerTLS(configs.TLS{}, "http", log); config != nil || err != nil {
		t.Fatalf("without files: %v, %v", config, err)
	}
	c.CertFile = filepath.Join(dir, "none")
	if _, _, err := listenerTLS(c.TLS, "http", log); err == nil || !strings.HasPrefix(err.Error(), "http.tls_cert_file: ") {
		t.Fatal(err)
	}
}
