package certificates_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im/common/certificates"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// pair makes a certificate that signs itself, and its key, as PEM.
func pair(t *testing.T, name string) ([]byte, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func writePair(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cert, key := pair(t, name)
	write(t, filepath.Join(dir, "tls.crt"), cert)
	write(t, filepath.Join(dir, "tls.key"), key)
}

// record is a log that tests wait for.
type record struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Write(p)
	select {
	case r.grown <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (r *record) count(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.text.String(), text)
}

// until waits until a text has been logged so many times.
func (r *record) until(t *testing.T, text string, times int) {
	t.Helper()
	late := time.After(patience)
	for r.count(text) < times {
		select {
		case <-r.grown:
		case <-late:
			t.Fatalf("%q was not logged %d times, but: %s", text, times, &r.text)
		}
	}
}

const (
	anew   = "have been read anew"
	broken = "can not be used"
)

func open(t *testing.T, dir string) (*certificates.Source, *record) {
	t.Helper()
	log := &record{grown: make(chan struct{}, 1)}
	source, err := certificates.Open(certificates.Files{
		Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"),
	}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	return source, log
}

func subject(source *certificates.Source) string {
	return source.Now().Certificate.Leaf.Subject.CommonName
}

func is(t *testing.T, source *certificates.Source, want string) {
	t.Helper()
	if got := subject(source); got != want {
		t.Fatalf("the certificate of %q is in force, not that of %q", got, want)
	}
	served, err := source.Listener().GetCertificate(nil)
	if err != nil || served.Leaf.Subject.CommonName != want {
		t.Fatalf("listeners show %v, %v", served, err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// Each way to bring new files is one that somebody uses.
func TestEveryWayOfReplacingFilesIsSeen(t *testing.T) {
	for _, c := range []struct {
		name  string
		given func(t *testing.T, dir string) string // returns where the files are
		when  func(t *testing.T, dir string)
	}{
		{
			"written in place",
			func(t *testing.T, dir string) string { writePair(t, dir, "old"); return dir },
			func(t *testing.T, dir string) { writePair(t, dir, "new") },
		},
		{
			"renamed over",
			func(t *testing.T, dir string) string { writePair(t, dir, "old"); return dir },
			func(t *testing.T, dir string) {
				writePair(t, filepath.Join(dir, "next"), "new")
				for _, name := range []string{"tls.key", "tls.crt"} {
					rename(t, filepath.Join(dir, "next", name), filepath.Join(dir, name))
				}
			},
		},
		{
			"Kubernetes: a link to the files' directory is renamed over",
			func(t *testing.T, dir string) string {
				writePair(t, filepath.Join(dir, "..1"), "old")
				link(t, "..1", filepath.Join(dir, "..data"))
				for _, name := range []string{"tls.key", "tls.crt"} {
					link(t, filepath.Join("..data", name), filepath.Join(dir, name))
				}
				return dir
			},
			func(t *testing.T, dir string) {
				writePair(t, filepath.Join(dir, "..2"), "new")
				link(t, "..2", filepath.Join(dir, "..data_tmp"))
				rename(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
				if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			"certbot: the links lead to other files",
			func(t *testing.T, dir string) string {
				writePair(t, filepath.Join(dir, "archive1"), "old")
				live := filepath.Join(dir, "live")
				if err := os.Mkdir(live, 0o700); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"tls.key", "tls.crt"} {
					link(t, filepath.Join("..", "archive1", name), filepath.Join(live, name))
				}
				return live
			},
			func(t *testing.T, dir string) {
				writePair(t, filepath.Join(dir, "archive2"), "new")
				for _, name := range []string{"tls.key", "tls.crt"} {
					link(t, filepath.Join("..", "archive2", name), filepath.Join(dir, "live", name+".new"))
					rename(t, filepath.Join(dir, "live", name+".new"), filepath.Join(dir, "live", name))
				}
			},
		},
		{
			"what a link leads to is written",
			func(t *testing.T, dir string) string {
				writePair(t, filepath.Join(dir, "far"), "old")
				link(t, filepath.Join(dir, "far"), filepath.Join(dir, "near"))
				return filepath.Join(dir, "near")
			},
			func(t *testing.T, dir string) { writePair(t, filepath.Join(dir, "far"), "new") },
		},
		{
			"the directory is moved away and another takes its place",
			func(t *testing.T, dir string) string {
				writePair(t, filepath.Join(dir, "tls"), "old")
				return filepath.Join(dir, "tls")
			},
			func(t *testing.T, dir string) {
				writePair(t, filepath.Join(dir, "next"), "new")
				rename(t, filepath.Join(dir, "tls"), filepath.Join(dir, "before"))
				rename(t, filepath.Join(dir, "next"), filepath.Join(dir, "tls"))
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			source, log := open(t, c.given(t, dir))
			is(t, source, "old")
			c.when(t, dir)
			log.until(t, anew, 1)
			is(t, source, "new")
		})
	}
}

func TestWhatIsBrokenChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir, "old")
	source, log := open(t, dir)

	write(t, filepath.Join(dir, "tls.crt"), []byte("no certificate"))
	log.until(t, broken, 1)
	is(t, source, "old")

	other, _ := pair(t, "other")
	write(t, filepath.Join(dir, "tls.crt"), other) // of another key
	log.until(t, broken, 2)
	is(t, source, "old")

	if err := os.Remove(filepath.Join(dir, "tls.key")); err != nil {
		t.Fatal(err)
	}
	log.until(t, broken, 3)
	is(t, source, "old")

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	log.until(t, broken, 4)
	writePair(t, dir, "new")
	log.until(t, anew, 1)
	is(t, source, "new")
}

func TestTheSameContentsAgainAreNoNews(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := pair(t, "same")
	write(t, filepath.Join(dir, "tls.crt"), cert)
	write(t, filepath.Join(dir, "tls.key"), key)
	source, log := open(t, dir)
	before := source.Now()
	write(t, filepath.Join(dir, "tls.crt"), cert)
	write(t, filepath.Join(dir, "unrelated"), nil)
	writePair(t, dir, "new") // for what would have been read before
	log.until(t, anew, 1)
	if source.Now() == before || log.count(anew) != 1 {
		t.Fatalf("logged: %s", &log.text)
	}
}

func TestAuthorities(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir, "one")
	files := certificates.Files{
		Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt"),
	}
	log := &record{grown: make(chan struct{}, 1)}
	logger := slog.New(slog.NewTextHandler(log, nil))
	for _, text := range []string{"", "no certificate"} {
		if text != "" {
			write(t, files.CA, []byte(text))
		}
		if source, err := certificates.Open(files, logger); err == nil || !strings.HasPrefix(err.Error(), "tls_ca_file: ") {
			source.Close()
			t.Fatalf("with %q as authorities: %v", text, err)
		}
	}
	first, _ := pair(t, "first")
	second, _ := pair(t, "second")
	write(t, files.CA, first)
	source, err := certificates.Open(files, logger)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	before := source.Now().CA
	write(t, files.CA, append(first, second...)) // as while an authority is replaced
	log.until(t, anew, 1)
	if source.Now().CA.Equal(before) {
		t.Fatal("the authorities are those of before")
	}
}

func TestErrorsNameTheSetting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir, "one")
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for says, files := range map[string]certificates.Files{
		"tls_cert_file: ": {Cert: filepath.Join(dir, "none"), Key: key},
		"tls_key_file: ":  {Cert: cert, Key: filepath.Join(dir, "nowhere", "none")},
		"tls_cert_file":   {Cert: key, Key: cert},
	} {
		source, err := certificates.Open(files, slog.New(slog.DiscardHandler))
		if err == nil {
			source.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
}
