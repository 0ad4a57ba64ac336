package local_test

import (
	"net"
	"net/url"
	"os"
	"testing"

	"github.com/im-transfer/im"
	store "github.com/im-transfer/im/common/mongo"
	"github.com/im-transfer/im/deploy/local"
)

// MongoDB comes back on the same port with its data after a stop, also of a paused
// one.
func TestMongo(t *testing.T) {
	if !local.HasMongo() {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal("neither mongod, nor java and mvn are installed")
		}
		t.Skip("neither mongod, nor java and mvn are installed (IM_TEST_REQUIRE=all makes this a failure)")
	}
	mongo, err := local.StartMongo(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	before, uri := mongo.PID(), mongo.URI()
	info := infoOf(t, uri)
	if err := mongo.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := mongo.Stop(); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	if connection, err := net.Dial("tcp", address.Host); err == nil {
		connection.Close()
		t.Fatal("stopped, but it answers")
	}
	if err := mongo.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if mongo.PID() == before || mongo.URI() != uri {
		t.Fatalf("process %d, then %d; address %s, then %s", before, mongo.PID(), uri, mongo.URI())
	}
	if again := infoOf(t, uri); again != info {
		t.Fatalf("the store is %+v, was %+v", again, info)
	}
	if err := mongo.Stop(); err != nil {
		t.Fatal(err)
	}
}

// infoOf opens the store and returns its row, which it makes where there is none.
func infoOf(t *testing.T, uri string) im.StoreInfo {
	t.Helper()
	s, err := store.Open(t.Context(), uri, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info
}
