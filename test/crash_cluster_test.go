package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/mongo"
	"github.com/im-transfer/im/common/rabbitmq"
	"github.com/im-transfer/im/deploy/local"
	"github.com/im-transfer/im/transfer"
)

// lanes is how many clusters walk the table at once, on the same engines. Most of a
// row's time is waiting for the registry to give up on who has died.
const lanes = 4

// Every crash place on the distributed drivers: servers of each role as processes of
// their own. A transfer that dies is replaced by another one, a gateway or http server
// is started again.
func TestCrashPlacesOfACluster(t *testing.T) {
	t.Parallel()
	if missing := local.HasEngines(); missing != nil {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal(missing)
		}
		t.Skipf("%v (IM_TEST_REQUIRE=all makes this a failure)", missing)
	}
	engines, err := local.StartEngines(t.Context(), local.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engines.Stop(); err != nil {
			t.Errorf("stop the engines: %v", err)
		}
	})
	workers := startLanes(t, engines)
	walk(t, onCluster, lanes, func(t *testing.T, worker int) *scene { return workers[worker].enter(t) })
}

func startLanes(t *testing.T, engines *local.Cluster) []*lane {
	t.Helper()
	made, options := make([]*lane, lanes), make([]local.Options, lanes)
	for i := range made {
		made[i] = &lane{log: &logs{}}
		options[i] = local.Options{
			Dir: filepath.Join(engines.Dir, fmt.Sprint("lane", i)), Binary: clusterProgram(t), Output: made[i].log,
			Count:    map[string]int{"http": 1, "websocket": 1, "tcp": 0, "transfer": 1},
			Settings: map[string]string{"registry.ttl": "1s", "queue.heartbeat": "2s", "retention.inbox": "0"},
		}
	}
	clusters, err := engines.Beside(t.Context(), options...)
	if err != nil {
		t.Fatal(err)
	}
	for i, cluster := range clusters {
		made[i].Cluster = cluster
		t.Cleanup(func() {
			made[i].stop()
			if err := cluster.Stop(); err != nil { // gives the folder back
				t.Error(err)
			}
		})
		if err := made[i].start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// lane is a cluster with one server of each role at a time. One goroutine uses it.
type lane struct {
	*local.Cluster
	log   *logs
	spare *local.Server // takes the place of the first transfer
}

func (l *lane) start(ctx context.Context) error {
	err := l.StartServers(ctx, nil)
	if err == nil {
		l.spare, err = l.Add(aTransfer)
	}
	return err
}

func (l *lane) stop() {
	for _, server := range l.Servers {
		server.Kill()
	}
}

// enter is the lane as a scene, with a server of each role.
func (l *lane) enter(t *testing.T) *scene {
	t.Helper()
	s := &server{t: t, log: l.log, key: l.ServiceKey, web: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: patience}}
	from := len(l.log.String())
	t.Cleanup(func() {
		s.web.CloseIdleConnections()
		if t.Failed() {
			t.Logf("the servers' log:\n%s", tail(l.log.String()[from:], 80))
			l.stop() // nobody knows what runs
		}
	})
	s.at(l.Server(anHTTP, 1).Address(), l.Server(aGateway, 1).Address(), "")
	for _, server := range []*local.Server{l.transfer(), l.Server(anHTTP, 1), l.Server(aGateway, 1)} { // where the last row failed
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return &scene{server: s, system: l}
}

// transfer is the one that runs, or the spare one.
func (l *lane) transfer() *local.Server {
	if first := l.Server(aTransfer, 1); first.PID() != 0 {
		return first
	}
	return l.spare
}

func (l *lane) armed(_ context.Context, role string, environment ...string) (*local.Server, error) {
	var err error
	if role == aTransfer {
		err = l.transfer().Stop()
	}
	server := l.Server(role, 1)
	server.Kill()
	server.Environment = environment
	return server, errors.Join(err, server.Launch())
}

func (l *lane) mended(ctx context.Context, role string) (*local.Server, error) {
	server := l.Server(role, 1)
	if role == aTransfer {
		server = l.spare
	}
	server.Environment = nil
	return server, server.Start(ctx)
}

// quiet waits until no receipt is owed, of this row or the one before: whoever takes
// over begins with those.
func (l *lane) quiet(t *testing.T) {
	t.Helper()
	store := l.store(t)
	defer store.Close()
	_, err := again(t, func() (int, error) {
		marks, cursors, err := store.DueReceipts(t.Context(), 0, 1)
		if n := len(marks) + len(cursors); n > 0 {
			err = fmt.Errorf("%d receipts are owed", n)
		}
		return 0, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lane) store(t *testing.T) keptStore {
	t.Helper()
	store, err := mongo.Open(t.Context(), l.Setting("store.uri"), mongo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func (l *lane) disturb(t *testing.T, partition int, arm func()) {
	t.Helper()
	arm() // the one before would take it
	queue, err := rabbitmq.Open(t.Context(), rabbitmq.Config{
		URIs: []string{l.Setting("queue.uri")}, Name: "a test", Prefix: "im.", Prefetch: 1,
		Topics: []rabbitmq.Topic{{Name: transfer.TopicInbox, Partitions: inboxPartitions}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer queue.Close()
	confirmed := make(chan error, 1)
	queue.Publish(transfer.TopicInbox, partition, []im.Pack{{Partition: partition, Body: []byte("\xff not a pack")}}, func(err error) { confirmed <- err })
	if err := <-confirmed; err != nil {
		t.Fatal(err)
	}
}
