package mongo

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/storetest"
	"github.com/im-transfer/im/deploy/local"
)

// server is the MongoDB of all tests: a given one, or one of our own that the
// first test starts and TestMain stops.
type server struct {
	start     sync.Once
	uri, dir  string
	own       *local.Mongo
	err       error
	databases atomic.Int64
}

var shared server

type testMain struct{ *testing.M }

func (m testMain) Run() int {
	code := m.M.Run()
	if shared.own != nil {
		if err := shared.own.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	_ = os.RemoveAll(shared.dir)
	return code
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(testMain{m}) }

func testURI(t testing.TB) string {
	t.Helper()
	if uri := os.Getenv("IM_TEST_MONGODB_URI"); uri != "" {
		return uri
	}
	if !local.HasMongo() {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal("neither mongod, nor java and mvn are installed")
		}
		t.Skip("neither mongod, nor java and mvn are installed (IM_TEST_REQUIRE=all makes this a failure)")
	}
	shared.start.Do(func() {
		shared.dir, shared.err = os.MkdirTemp("", "im-mongo") //nolint:usetesting // it outlives the test
		if shared.err != nil {
			return
		}
		if shared.own, shared.err = local.StartMongo(context.Background(), shared.dir, 0); shared.err == nil {
			shared.uri = shared.own.URI()
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.uri
}

// newDatabase names a database that is dropped at the end.
func newDatabase(t testing.TB) Options {
	t.Helper()
	return Options{Database: fmt.Sprintf("im_test_%d_%d", os.Getpid(), shared.databases.Add(1))}
}

func openDatabase(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), testURI(t), o)
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

// openTest opens a new database.
func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	o.Database = newDatabase(t).Database
	s := openDatabase(t, o)
	t.Cleanup(func() {
		if err := s.store.Database().Drop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.StoreUnderTest {
		s := openTest(t, Options{})
		return storetest.StoreUnderTest{Store: s, Reopen: func(t *testing.T) storetest.Store {
			return openDatabase(t, Options{Database: s.store.Database().Name()})
		}}
	})
}

// Servers that start at once agree on the store's row.
func TestManyOpenAtOnce(t *testing.T) {
	first := openTest(t, Options{})
	if _, err := first.store.DeleteOne(t.Context(), byID("store")); err != nil {
		t.Fatal(err)
	}
	var epochs sync.Map
	err := each(8, func(int) error {
		s, err := Open(t.Context(), testURI(t), Options{Database: first.store.Database().Name()})
		if err != nil {
			return err
		}
		epochs.Store(s.info, true)
		return s.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	epochs.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d different rows", n)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	s := openTest(t, Options{})
	if _, err := s.store.DeleteOne(t.Context(), byID("store")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.InsertOne(t.Context(), storeDocument{ID: "store", Format: format + 1, InboxEpoch: im.NewID()}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), testURI(t), Options{Database: s.store.Database().Name(), Timeout: time.Minute}); err == nil {
		t.Fatal("opened")
	}
}
