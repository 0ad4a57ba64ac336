package argon2_test

import (
	"strings"
	"testing"

	"github.com/im-transfer/im/common/argon2"
)

func hasher(t *testing.T) *argon2.Hasher {
	t.Helper()
	h, err := argon2.New(argon2.Params{MemoryKiB: 64, Iterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAHashIsOfItsPasswordOnly(t *testing.T) {
	h := hasher(t)
	hash := h.Hash("correct horse")
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("hash %q is no PHC string with its costs", hash)
	}
	if !h.Verify(hash, "correct horse") {
		t.Error("the right password is refused")
	}
	if h.Verify(hash, "correct horsf") || h.Verify(hash, "") {
		t.Error("a wrong password is accepted")
	}
	if h.Hash("correct horse") == hash {
		t.Error("two hashes of one password are the same: there is no salt")
	}
}

// Costs can be raised later: a hash is verified with its own.
func TestAHashKeepsItsCosts(t *testing.T) {
	dearer, err := argon2.New(argon2.Params{MemoryKiB: 128, Iterations: 2, Parallelism: 2})
	if err != nil {
		t.Fatal(err)
	}
	if !dearer.Verify(hasher(t).Hash("correct horse"), "correct horse") {
		t.Error("a hash with other costs is refused")
	}
}

// The reference implementation's own vector (argon2 command: m=65536 KiB, t=2,
// p=1, salt "somesalt", password "password").
func TestTheReferenceVector(t *testing.T) {
	const hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if !hasher(t).Verify(hash, "password") {
		t.Error("the reference vector is refused")
	}
}

func TestForeignHashesAreNeverRight(t *testing.T) {
	h := hasher(t)
	good := h.Hash("password")
	for _, hash := range []string{
		"", "password", "$2a$10$abcdefghijklmnopqrstuv",
		strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=64", "m=4294967295", 1),
		strings.Replace(good, "t=1", "t=0", 1),
		good[:strings.LastIndex(good, "$")+1],
		good + "!",
	} {
		if h.Verify(hash, "password") {
			t.Errorf("hash %q: accepted", hash)
		}
	}
}

func TestCostsOutOfRangeAreRefused(t *testing.T) {
	for _, params := range []argon2.Params{
		{MemoryKiB: 7}, {MemoryKiB: 1<<20 + 1}, {Iterations: 101}, {MemoryKiB: 8, Parallelism: 2},
	} {
		if _, err := argon2.New(params); err == nil {
			t.Errorf("%+v: accepted", params)
		}
	}
}
