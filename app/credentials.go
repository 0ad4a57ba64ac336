package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/im-transfer/im/configs"
)

const (
	// credentialHeader carries the credential of a call: credentialScheme, a space,
	// the time in Unix seconds, a dot, and the MAC of that time in hex.
	credentialHeader = "authorization"
	credentialScheme = "im-cluster"
	// credentialLife is how far the clocks of two servers may be apart, and how long
	// a credential that somebody has read off a wire without TLS is good for.
	credentialLife = 5 * time.Minute
	// maxSeconds bounds what is taken for a time, bytes.
	maxSeconds = 20
	// maxRefused bounds the addresses whose refusal is remembered; above it all are
	// forgotten, which can only log some of them again.
	maxRefused = 1024
)

// serverCredentials returns what a gRPC server of the cluster asks of its callers:
// a credential made of cluster.secret with every call and stream, and TLS where
// the section names a certificate. listen is where the server listens, transfer.listen.
// What it returns last is to be called after the server has stopped.
func serverCredentials(c configs.Cluster, listen string, now func() time.Time, log *slog.Logger) ([]grpc.ServerOption, stopper, error) {
	keys, err := newClusterKeys(c.Secret)
	if err != nil {
		return nil, nil, err
	}
	source, stop, err := openClusterCertificates(c, log)
	if err != nil {
		return nil, nil, err
	}
	guard := newGuard(keys, now, log)
	options := []grpc.ServerOption{grpc.InTapHandle(guard.admit)}
	if source == nil {
		if !isLoopback(listen) {
			log.Warn("servers talk without TLS: whoever is on the network between them can read messages; see cluster.tls_cert_file",
				"transfer.listen", listen)
		}
		return options, stop, nil
	}
	transport := newClusterTLS(source)
	transport.refused = guard.refuse
	return append(options, grpc.Creds(transport)), stop, nil
}

// dialCredentials returns what a server of the cluster shows another that it calls.
// What it returns last is to be called when nothing dials any more.
func dialCredentials(c configs.Cluster, now func() time.Time, log *slog.Logger) ([]grpc.DialOption, stopper, error) {
	keys, err := newClusterKeys(c.Secret)
	if err != nil {
		return nil, nil, err
	}
	source, stop, err := openClusterCertificates(c, log)
	if err != nil {
		return nil, nil, err
	}
	var transport credentials.TransportCredentials = insecure.NewCredentials()
	if source != nil {
		transport = newClusterTLS(source)
	}
	return []grpc.DialOption{
		grpc.WithPerRPCCredentials(credential{keys[0], now}),
		grpc.WithTransportCredentials(transport),
	}, stop, nil
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// clusterKey makes and judges credentials. It is derived from a secret, which itself
// is on no wire.
type clusterKey []byte

// newClusterKeys returns the keys of the secrets, with spaces between them: by the
// first a server proves who it is, and all of them are good for others.
func newClusterKeys(secrets configs.Secret) ([]clusterKey, error) {
	var keys []clusterKey
	for _, secret := range secrets.Several() {
		keys = append(keys, clusterKey(mac([]byte(secret), "im cluster credential")))
	}
	if len(keys) == 0 {
		return nil, errors.New("cluster.secret: there is none")
	}
	return keys, nil
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func (k clusterKey) make(now time.Time) string {
	at := strconv.FormatInt(now.Unix(), 10)
	return credentialScheme + " " + at + "." + hex.EncodeToString(mac(k, at))
}

// signed reports whether a MAC is that of a text, in constant time.
func (k clusterKey) signed(text string, sum []byte) bool { return hmac.Equal(sum, mac(k, text)) }

// judge returns why a credential is not good; nil when it is.
func judge(text string, keys []clusterKey, now time.Time) error {
	token, ok := strings.CutPrefix(text, credentialScheme+" ")
	at, sum, dotted := strings.Cut(token, ".")
	given, err := hex.DecodeString(sum)
	if !ok || !dotted || err != nil || len(at) > maxSeconds {
		return errors.New("it is none")
	}
	if !slices.ContainsFunc(keys, func(key clusterKey) bool { return key.signed(at, given) }) {
		return errors.New("it was made of another secret")
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return errors.New("it has no time")
	}
	if apart := now.Sub(time.Unix(seconds, 0)); apart.Abs() > credentialLife {
		return fmt.Errorf("it is of another time: the clocks are %s apart", apart.Round(time.Second))
	}
	return nil
}

// credential shows every call's server that the caller knows the secret.
type credential struct {
	key clusterKey
	now func() time.Time
}

// GetRequestMetadata makes the credential of one call.
func (c credential) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{credentialHeader: c.key.make(c.now())}, nil
}

// RequireTransportSecurity is false: the secret can not be learnt from a credential.
func (credential) RequireTransportSecurity() bool { return false }

// guard refuses calls without a good credential, on their headers, before anything
// of their messages is read.
type guard struct {
	keys []clusterKey
	log  *slog.Logger
	now  func() time.Time

	mu      sync.Mutex
	refused map[string]bool // hosts, as logged, with "TLS " before them where that refused them
}

func newGuard(keys []clusterKey, now func() time.Time, log *slog.Logger) *guard {
	return &guard{keys: keys, log: log, now: now, refused: map[string]bool{}}
}

// refuse logs a connection that TLS has refused, once for each host. One that was
// closed before anything was said is of somebody who looks whether the port is open.
func (g *guard) refuse(conn net.Conn, err error) {
	if errors.Is(err, io.EOF) {
		return
	}
	if host := hostOfAddr(conn.RemoteAddr()); g.first("TLS " + host) {
		g.log.Warn("refused a connection that is not the cluster's TLS: see cluster.tls_cert_file and cluster.tls_ca_file, there and here; "+
			"further ones from there are not logged", "from", host, "error", err)
	}
}

// admit refuses or passes a call on. The caller is not told why; the log says it once
// for each host.
func (g *guard) admit(ctx context.Context, call *tap.Info) (context.Context, error) {
	why := g.judge(call.Header)
	if why == nil {
		return ctx, nil
	}
	if host := hostOf(ctx); g.first(host) {
		g.log.Warn("refused a call without the cluster's credential; further ones from there are not logged",
			"from", host, "method", call.FullMethodName, "error", why)
	}
	return nil, refusal(g.now())
}

func (g *guard) judge(header metadata.MD) error {
	shown := header.Get(credentialHeader)
	if len(shown) != 1 {
		return fmt.Errorf("%d credentials", len(shown))
	}
	return judge(shown[0], g.keys, g.now())
}

// first reports whether a host has not been refused before.
func (g *guard) first(host string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused[host] {
		return false
	}
	if len(g.refused) >= maxRefused {
		clear(g.refused)
	}
	g.refused[host] = true
	return true
}

func hostOf(ctx context.Context) string {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return "?"
	}
	return hostOfAddr(from.Addr)
}

func hostOfAddr(address net.Addr) string {
	host, _, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	return host
}
