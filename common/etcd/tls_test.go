package etcd_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im/common/etcd"
)

// inFront speaks TLS and passes on to a plain etcd. It returns its https address
// and the file with the certificate to trust.
func inFront(t *testing.T, plain string) (string, string) {
	t.Helper()
	source := httptest.NewTLSServer(nil)
	certificates, root := source.TLS.Certificates, source.Certificate().Raw
	source.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root}), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { listener.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { join(conn, strings.TrimPrefix(plain, "http://")) })
		}
	})
	return "https://" + listener.Addr().String(), ca
}

// join copies both ways until one side ends.
func join(conn net.Conn, address string) {
	defer conn.Close()
	other, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer other.Close()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{conn, other}, {other, conn}} {
		go func() {
			io.Copy(pair[0], pair[1]) //nolint:errcheck // its end is what counts
			done <- struct{}{}
		}()
	}
	<-done
}

func TestTLS(t *testing.T) {
	t.Parallel()
	uri, ca := inFront(t, private(t).URI())
	r := open(t, etcd.Options{URI: uri + "?ca=" + ca})
	register(t, r, server("a", 0))
	until(t, watch(t, r), "a", listed(server("a", 0)))

	stranger, err := etcd.Open(t.Context(), etcd.Options{URI: uri, Wait: time.Second})
	if err == nil {
		stranger.Close()
		t.Fatal("trusted a certificate that nobody has signed")
	}
}
