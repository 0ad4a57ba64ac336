// Package certificates gives the certificate, the key and the authorities that
// stand in PEM files, and follows the files: connections made after a change use
// what is new, those that exist are not touched.
//
// A Source has one goroutine, which watches the directories that its files are
// reached through; Close ends it. What it has read is swapped in whole, so that a
// certificate is never seen with the key of another.
package certificates

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Files names PEM files.
type Files struct {
	Cert string // a certificate, and those that lead from it to its authority
	Key  string // of Cert
	CA   string // authorities to trust in place of the system's; empty = the system's
}

// Material is what stood in the files at one time. Nobody changes it.
type Material struct {
	Certificate *tls.Certificate
	CA          *x509.CertPool // nil = the system's
}

// Source gives the newest material that was good. All methods are safe for
// concurrent use.
type Source struct {
	files   Files
	log     *slog.Logger
	current atomic.Pointer[Material]
	done    chan struct{} // closed by Close
	once    sync.Once
	running sync.WaitGroup

	// The goroutine's own.
	read      [sha256.Size]byte // of the texts in force
	complaint string            // the last one, unless all has been well since
}

// Open reads the files and begins to follow them. An error begins with the setting
// concerned, tls_cert_file or tls_ca_file, without its section.
func Open(files Files, log *slog.Logger) (*Source, error) {
	s := &Source{files: files, log: log, done: make(chan struct{})}
	watcher, err := s.watch()
	if err != nil {
		return nil, fmt.Errorf("tls_cert_file: %w", err)
	}
	text, err := files.read()
	if err == nil {
		err = s.take(text)
	}
	if err != nil {
		return nil, errors.Join(err, watcher.Close())
	}
	s.running.Go(func() { s.follow(watcher) })
	return s, nil
}

// Now returns the material in force.
func (s *Source) Now() *Material { return s.current.Load() }

// Listener returns the configuration of a listener for anybody: TLS 1.2 or above,
// and no questions about the client.
func (s *Source) Listener() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.Now().Certificate, nil
		},
	}
}

// Close ends following; the material in force stays usable. It may be called again.
func (s *Source) Close() error {
	s.once.Do(func() { close(s.done) })
	s.running.Wait()
	return nil
}

// texts are the files' contents.
type texts struct{ cert, key, ca []byte }

func (f Files) read() (texts, error) {
	var t texts
	for _, file := range []struct {
		setting, path string
		text          *[]byte
	}{{"tls_cert_file", f.Cert, &t.cert}, {"tls_key_file", f.Key, &t.key}, {"tls_ca_file", f.CA, &t.ca}} {
		if file.path == "" {
			continue
		}
		var err error
		if *file.text, err = os.ReadFile(file.path); err != nil {
			return t, fmt.Errorf("%s: %w", file.setting, err)
		}
	}
	return t, nil
}

// sum tells contents apart.
func (t texts) sum() [sha256.Size]byte {
	var all []byte
	for _, text := range [][]byte{t.cert, t.key, t.ca} {
		one := sha256.Sum256(text)
		all = append(all, one[:]...)
	}
	return sha256.Sum256(all)
}

// take puts contents in force unless something is wrong with them.
func (s *Source) take(t texts) error {
	pair, err := tls.X509KeyPair(t.cert, t.key)
	if err != nil {
		return fmt.Errorf("tls_cert_file: %s with %s: %w", s.files.Cert, s.files.Key, err)
	}
	next := &Material{Certificate: &pair}
	if s.files.CA != "" {
		next.CA = x509.NewCertPool()
		if !next.CA.AppendCertsFromPEM(bytes.TrimSpace(t.ca)) {
			return fmt.Errorf("tls_ca_file: %s holds no certificate", s.files.CA)
		}
	}
	s.current.Store(next)
	s.read = t.sum()
	return nil
}

// reload reads the files again. What can not be used changes nothing and is
// complained of once; the next change is another chance.
func (s *Source) reload() {
	text, err := s.files.read()
	if err == nil && text.sum() != s.read {
		if err = s.take(text); err == nil {
			s.announce()
		}
	}
	switch {
	case err == nil:
		s.complaint = ""
	case err.Error() != s.complaint:
		s.complaint = err.Error()
		s.log.Error("the certificate files have changed and can not be used; what was read before stays in force", "error", err)
	}
}

func (s *Source) announce() {
	leaf := s.Now().Certificate.Leaf
	s.log.Info("certificates have been read anew", "file", s.files.Cert, "subject", leaf.Subject.String(),
		"serial", leaf.SerialNumber.String(), "not_after", leaf.NotAfter.UTC().Format(time.RFC3339))
}
