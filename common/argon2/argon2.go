// Package argon2 hashes passwords with Argon2id and keeps the hashes as PHC
// strings.
package argon2

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

const (
	saltBytes = 16
	keyBytes  = 32
)

// Params are the costs of a hash. The zero value of each stands for OWASP's
// advice: 19 MiB, 2 passes, 1 lane.
type Params struct {
	MemoryKiB   uint32 // 8 to 1,048,576 for each lane
	Iterations  uint32 // 1 to 100
	Parallelism uint8  // lanes
}

// Hasher hashes and verifies passwords. Safe for concurrent use; every call takes
// Params.MemoryKiB of memory and a core for tens of milliseconds, so callers
// bound how many run at once.
type Hasher struct{ params Params }

// New returns a Hasher, or an error for costs out of range.
func New(params Params) (*Hasher, error) {
	if params.MemoryKiB == 0 {
		params.MemoryKiB = 19 << 10
	}
	if params.Iterations == 0 {
		params.Iterations = 2
	}
	if params.Parallelism == 0 {
		params.Parallelism = 1
	}
	if err := params.check(); err != nil {
		return nil, err
	}
	return &Hasher{params}, nil
}

func (p Params) check() error {
	switch {
	case p.Parallelism == 0 || p.MemoryKiB < 8*uint32(p.Parallelism) || p.MemoryKiB > 1<<20:
		return errors.New("argon2: memory must be 8 KiB for each lane to 1 GiB")
	case p.Iterations < 1 || p.Iterations > 100:
		return errors.New("argon2: iterations must be 1 to 100")
	}
	return nil
}

// Hash returns the PHC string of a password under a new random salt.
func (h *Hasher) Hash(password string) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	key := derive(password, salt, h.params, keyBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		h.params.MemoryKiB, h.params.Iterations, h.params.Parallelism, encode(salt), encode(key))
}

// Verify reports whether a hash is of this password. A hash that is none of ours,
// or empty, never is; finding out takes as long as for one made by Hash.
func (h *Hasher) Verify(hash, password string) bool {
	params, salt, want, err := parse(hash)
	if err != nil {
		derive(password, make([]byte, saltBytes), h.params, keyBytes)
		return false
	}
	return subtle.ConstantTimeCompare(derive(password, salt, params, uint32(len(want))), want) == 1 //nolint:gosec // short
}

func derive(password string, salt []byte, p Params, length uint32) []byte {
	return argon2.IDKey([]byte(password), salt, p.Iterations, p.MemoryKiB, p.Parallelism, length)
}

// parse reads "$argon2id$v=19$m=…,t=…,p=…$salt$key".
func parse(hash string) (params Params, salt, key []byte, err error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return params, nil, nil, errors.New("not an argon2id hash")
	}
	if _, err = fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &params.MemoryKiB, &params.Iterations, &params.Parallelism); err != nil {
		return params, nil, nil, fmt.Errorf("argon2id costs: %w", err)
	}
	if err = params.check(); err != nil {
		return params, nil, nil, err
	}
	if salt, err = decode(parts[4]); err != nil {
		return params, nil, nil, fmt.Errorf("argon2id salt: %w", err)
	}
	if key, err = decode(parts[5]); err != nil || len(key) < 16 || len(key) > 64 {
		return params, nil, nil, errors.New("argon2id key is not 16 to 64 bytes")
	}
	return params, salt, key, nil
}

func encode(b []byte) string          { return base64.RawStdEncoding.EncodeToString(b) }
func decode(s string) ([]byte, error) { return base64.RawStdEncoding.DecodeString(s) }
