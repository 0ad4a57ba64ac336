package etcd_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/im-transfer/im/common/etcd"
)

// raw is a client of etcd without the registry.
func raw(t *testing.T, config clientv3.Config) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestARowThatIsDeletedByHandComesBack(t *testing.T) {
	t.Parallel()
	uri, name := shared(t), cluster()
	r := open(t, etcd.Options{URI: uri, Cluster: name})
	register(t, r, server("a", 0))
	until(t, watch(t, r), "a", listed(server("a", 0)))

	client, key := raw(t, clientv3.Config{Endpoints: []string{uri}}), "/im/"+name+"/servers/a"
	deleted, err := client.Delete(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}

	// It may be so fast that who watches servers is told of nothing.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if answer := <-client.Watch(ctx, key, clientv3.WithRev(deleted.Header.Revision+1)); len(answer.Events) == 0 || !answer.Events[0].IsCreate() {
		t.Fatalf("it does not come back: %+v", answer)
	}
	until(t, watch(t, r), "its return", listed(server("a", 0)))
}

func TestARowThatCanNotBeReadIsPassedOver(t *testing.T) {
	t.Parallel()
	uri, name := shared(t), cluster()
	client := raw(t, clientv3.Config{Endpoints: []string{uri}})
	for key, value := range map[string]string{"servers/x": "?", "servers/y": `{"id":"z","role":"transfer"}`, "later/than": "us"} {
		if _, err := client.Put(t.Context(), "/im/"+name+"/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, etcd.Options{URI: uri, Cluster: name})
	register(t, r, server("a", 0))
	until(t, watch(t, r), "a alone", listed(server("a", 0)))
}

func TestSettings(t *testing.T) {
	t.Parallel()
	service := private(t)
	options := etcd.Options{URI: service.URI() + "/blue"}
	tool, r := open(t, options), open(t, options)
	green := open(t, etcd.Options{URI: service.URI() + "/green"})
	settings, err := r.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	are := func(want map[string]string) func(map[string]string) bool {
		return func(got map[string]string) bool { return maps.Equal(got, want) }
	}
	until(t, settings, "none", are(nil))

	put := func(name, value string) {
		t.Helper()
		if err := tool.PutSetting(t.Context(), name, value); err != nil {
			t.Fatal(err)
		}
	}
	put("log.level", "debug")
	put("limits.sends_per_second", "20")
	until(t, settings, "both", are(map[string]string{"log.level": "debug", "limits.sends_per_second": "20"}))
	if err := tool.DeleteSetting(t.Context(), "log.level"); err != nil {
		t.Fatal(err)
	}
	until(t, settings, "one", are(map[string]string{"limits.sends_per_second": "20"}))

	// A new watch while etcd is away begins with the last known; the old one goes on
	// when etcd is back.
	service.Kill()
	if err := tool.PutSetting(briefly(t), "log.level", "warn"); err == nil {
		t.Error("a setting was put in an etcd that is away")
	}
	late, err := r.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	until(t, late, "the last known", are(map[string]string{"limits.sends_per_second": "20"}))
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	put("log.level", "info")
	until(t, settings, "both", are(map[string]string{"log.level": "info", "limits.sends_per_second": "20"}))

	others, err := green.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	until(t, others, "another cluster's", are(nil))
	if err := tool.PutSetting(t.Context(), "", "x"); err == nil {
		t.Error("a setting without a name was put")
	}
}

func briefly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestOpenWaitsForEtcd(t *testing.T) {
	t.Parallel()
	service := private(t)
	service.Kill()
	began := time.Now()
	r, err := etcd.Open(t.Context(), etcd.Options{URI: service.URI(), Wait: 300 * time.Millisecond})
	if err == nil {
		r.Close()
		t.Fatal("opened without etcd")
	}
	if text := err.Error(); !strings.Contains(text, "registry.uri") || !strings.Contains(text, service.URI()) || time.Since(began) > patience {
		t.Errorf("after %s: %v", time.Since(began), err)
	}

	opened := make(chan error, 1)
	go func() {
		r, err := etcd.Open(t.Context(), etcd.Options{URI: service.URI(), Wait: patience})
		if err == nil {
			err = r.Close()
		}
		opened <- err
	}()
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("etcd has come, but: %v", err)
	}
}

func TestRegisteringWhileEtcdIsAwayFailsInTime(t *testing.T) {
	t.Parallel()
	service := private(t)
	r := open(t, etcd.Options{URI: service.URI(), Timeout: 500 * time.Millisecond, Wait: 500 * time.Millisecond})
	service.Kill()
	if err := r.Register(t.Context(), server("a", 0)); err == nil {
		t.Error("registered without etcd")
	}
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	register(t, r, server("a", 1))
	until(t, watch(t, r), "a", listed(server("a", 1)))
}

func TestNothingWorksAfterClose(t *testing.T) {
	t.Parallel()
	r := open(t, etcd.Options{URI: shared(t), Cluster: cluster()})
	lists := watch(t, r)
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range lists { // it must end
	}
	if _, err := r.Watch(t.Context(), "tcp"); !errors.Is(err, etcd.ErrClosed) {
		t.Errorf("watch: %v", err)
	}
	if err := r.Register(t.Context(), server("a", 0)); !errors.Is(err, etcd.ErrClosed) {
		t.Errorf("register: %v", err)
	}
}

// Passwords are checked, survive a restart of etcd, which forgets its tokens, and
// never stand in an error.
func TestPasswords(t *testing.T) {
	t.Parallel()
	service := private(t)
	client := raw(t, clientv3.Config{Endpoints: []string{service.URI()}})
	for _, do := range []func() error{
		func() error { _, err := client.UserAdd(t.Context(), "root", "r"); return err },
		func() error { _, err := client.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := client.UserAdd(t.Context(), "im", "open sesame"); return err },
		func() error { _, err := client.RoleAdd(t.Context(), "im"); return err },
		func() error {
			_, err := client.RoleGrantPermission(t.Context(), "im", "/im/", clientv3.GetPrefixRangeEnd("/im/"),
				clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := client.UserGrantRole(t.Context(), "im", "im"); return err },
		func() error { _, err := client.AuthEnable(t.Context()); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	host := strings.TrimPrefix(service.URI(), "http://")
	for _, uri := range []string{"http://im:open%20barley@" + host, "http://" + host} {
		r, err := etcd.Open(t.Context(), etcd.Options{URI: uri, Wait: patience})
		if err == nil {
			r.Close()
			t.Fatal("opened with a wrong password")
		}
		if strings.Contains(err.Error(), "barley") || !strings.Contains(err.Error(), "registry.uri") {
			t.Error(err)
		}
	}

	r := open(t, etcd.Options{URI: "http://im:open%20sesame@" + host})
	seen := newWitnessOf(t, r, "a")
	service.Kill()
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	register(t, r, server("a", 3))
	until(t, seen.lists, "the new load", listed(server("a", 3)))
}

func newWitnessOf(t *testing.T, r *etcd.Registry, id string) *witness {
	t.Helper()
	register(t, r, server(id, 0))
	return newWitness(t, r, id)
}
