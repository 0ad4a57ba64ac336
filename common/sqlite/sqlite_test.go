package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/im-transfer/im/common/sqlite"
	"github.com/im-transfer/im/common/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, crashWriter(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) { storetest.Run(t, openStore) }

// The wrapper that takes the outbox away passes what a distributed store must.
func TestStoreWithoutOutbox(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.StoreUnderTest {
		s := openStore(t)
		reopen := s.Reopen
		s.Store = storetest.WithoutOutbox(s.Store)
		s.Reopen = func(t *testing.T) storetest.Store { return storetest.WithoutOutbox(reopen(t)) }
		return s
	})
}

func openStore(t *testing.T) storetest.StoreUnderTest {
	t.Helper()
	dir := t.TempDir()
	first := openDir(t, dir)
	return storetest.StoreUnderTest{Store: first, Reopen: func(t *testing.T) storetest.Store {
		t.Helper()
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		return openDir(t, dir)
	}}
}

func openDir(t *testing.T, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), dir, sqlite.Options{CacheBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
