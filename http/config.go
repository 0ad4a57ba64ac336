package http

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/im-transfer/im"
)

// MinSecretBytes is the least length of Config.RefreshSecret.
const MinSecretBytes = 32

// refreshGrace is how long a replaced refresh token answers with its successor.
const refreshGrace = 30 * time.Second

// Config is what a server is told. Zero values stand for the defaults given.
type Config struct {
	Listen   string      // host:port
	TLS      *tls.Config // nil = none
	ServerID string      // as the registry has it
	Version  string      // of the program, for the OpenAPI document and the status page

	// RefreshSecret signs refresh tokens: at least MinSecretBytes, the same on
	// every http server.
	RefreshSecret []byte
	AccessTTL     time.Duration // of access tokens; 15 min
	RefreshTTL    time.Duration // of a refresh token that is not used; 30 days

	Policy Policy // until SetPolicy

	ServiceKey  string         // empty: there is no service API
	CORSOrigins []string       // "https://example.org", or "*" for any; empty: none but the server's own
	Proxies     []netip.Prefix // peers whose X-Forwarded-For is believed

	MaxBodyBytes   int64         // of a request; 1 MiB
	RequestTimeout time.Duration // for all work on a request; 10 s
	MaxRequests    int           // API requests worked on at once; 1,024, more wait for 2 s and then are unavailable

	HashConcurrency int // password hashes at once; half the cores, at least 1
	HashQueue       int // requests waiting for one; 64, beyond it unavailable

	LoginsPerName    Rate // failed log-ins of a name; 10, one more each 6 s
	LoginsPerAddress Rate // failed log-ins from a remote address (IPv6: its /64); 60, one more each second

	RegistrationsPerAddress Rate // from a remote address (IPv6: its /64); 30, one more each 2 s

	Tracer Tracer           // nil = nothing is traced
	Now    func() time.Time // time.Now
}

// Rate allows a burst, and then one more for each Every.
type Rate struct {
	Burst int
	Every time.Duration
}

// Services is what a server works with.
type Services struct {
	Accounts  Accounts
	Devices   Devices
	Histories Histories
	Relations Relations
	Journals  Journals
	Passports Passports

	Broadcasts Broadcasts // nil: there are none

	Pipeline  Pipeline
	Discovery Discovery
	Tokens    Tokens
	Passwords Passwords
}

// withDefaults fills in the defaults and says what can not be.
func (c Config) withDefaults() (Config, error) {
	if len(c.RefreshSecret) < MinSecretBytes {
		return c, fmt.Errorf("refresh secret: %d bytes, at least %d are needed", len(c.RefreshSecret), MinSecretBytes)
	}
	for _, rate := range []Rate{c.LoginsPerName, c.LoginsPerAddress, c.RegistrationsPerAddress} {
		if rate.Burst < 0 || rate.Every < 0 {
			return c, errors.New("log-in and registration limits must not be negative")
		}
	}
	if c.HashConcurrency < 0 || c.HashQueue < 0 || c.MaxBodyBytes < 0 || c.MaxRequests < 0 {
		return c, errors.New("hash, body and request limits must not be negative")
	}
	c.AccessTTL = orElse(c.AccessTTL, 15*time.Minute)
	c.RefreshTTL = orElse(c.RefreshTTL, 30*24*time.Hour)
	c.MaxBodyBytes = orElse(c.MaxBodyBytes, 1<<20)
	c.RequestTimeout = orElse(c.RequestTimeout, 10*time.Second)
	c.MaxRequests = orElse(c.MaxRequests, 1024)
	c.HashConcurrency = orElse(c.HashConcurrency, max(1, runtime.GOMAXPROCS(0)/2))
	c.HashQueue = orElse(c.HashQueue, 64)
	c.LoginsPerName = c.LoginsPerName.orElse(Rate{10, 6 * time.Second})
	c.LoginsPerAddress = c.LoginsPerAddress.orElse(Rate{60, time.Second})
	c.RegistrationsPerAddress = c.RegistrationsPerAddress.orElse(Rate{30, 2 * time.Second})
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func (r Rate) orElse(otherwise Rate) Rate {
	return Rate{orElse(r.Burst, otherwise.Burst), orElse(r.Every, otherwise.Every)}
}

func orElse[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

func invalid(format string, args ...any) error { return im.Errorf(im.Invalid, format, args...) }
