package app

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/etcd"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/common/sqlite"
	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/deploy/local"
)

func defaultConfig(t *testing.T) *configs.Config {
	t.Helper()
	c, err := configs.Default()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// followed is a process that follows a configuration centre, and what it was told
// last.
type followed struct {
	*process
	log    *text
	level  *slog.LevelVar
	newest atomic.Pointer[configs.Config]
	told   atomic.Int64
}

func follow(t *testing.T, r registry, own *configs.Config) *followed {
	t.Helper()
	f := &followed{level: new(slog.LevelVar)}
	var log *slog.Logger
	f.log, log = newText()
	f.process = &process{
		App: newApp(log), config: own, registry: r, metrics: prometheus.NewRegistry(), options: Options{LogLevel: f.level},
	}
	if err := f.startSettings(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	f.settings.follow(func(c *configs.Config) { f.newest.Store(c); f.told.Add(1) })
	return f
}

// becomes waits until a setting has a value.
func (f *followed) becomes(t *testing.T, name, value string) {
	t.Helper()
	eventually(t, func() bool { return f.newest.Load().Value(name) == value })
}

// logs waits until a line has been logged that contains all the texts.
func (f *followed) logs(t *testing.T, texts ...string) {
	t.Helper()
	eventually(t, func() bool {
		for line := range strings.Lines(f.log.String()) {
			missing := false
			for _, text := range texts {
				missing = missing || !strings.Contains(line, text)
			}
			if !missing {
				return true
			}
		}
		return false
	})
}

// refusals is the metric of a label.
func (f *followed) refusals(t *testing.T, label string) float64 {
	t.Helper()
	families, err := f.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "im_settings_refused_total" && metric.GetLabel()[0].GetValue() == label {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// changing is a registry that operators may change.
type changing interface {
	registry
	centreRegistry
}

// centres are the configuration centre in memory and, where there is one, in etcd,
// as a server and as an operator sees it.
func centres() map[string]func(*testing.T) (changing, changing) {
	return map[string]func(*testing.T) (changing, changing){
		"memory": func(*testing.T) (changing, changing) {
			r := memory.NewRegistry()
			return r, r
		},
		"etcd": func(t *testing.T) (changing, changing) {
			uri := startEtcd(t)
			return openEtcd(t, uri), openEtcd(t, uri)
		},
	}
}

func startEtcd(t *testing.T) string {
	t.Helper()
	if !local.HasEtcd() {
		if os.Getenv("IM_TEST_REQUIRE") == "all" {
			t.Fatal("etcd is not installed")
		}
		t.Skip("etcd is not installed (IM_TEST_REQUIRE=all makes this a failure)")
	}
	service, err := local.StartEtcd(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Stop(); err != nil {
			t.Error(err)
		}
	})
	return service.URI()
}

func openEtcd(t *testing.T, uri string) *etcd.Registry {
	t.Helper()
	r, err := etcd.Open(t.Context(), etcd.Options{URI: uri})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestSettingsFollowTheCentre(t *testing.T) {
	for name, open := range centres() {
		t.Run(name, func(t *testing.T) {
			server, operator := open(t)
			put := func(name, value string) {
				t.Helper()
				if err := operator.PutSetting(t.Context(), name, value); err != nil {
					t.Fatal(err)
				}
			}
			put("limits.sends_per_second", "5")
			eventually(t, func() bool { return len(<-mustSettings(t, server)) == 1 })
			own := defaultConfig(t)
			own.Log.Level, own.Limits.SendsPerSecond = "warn", 3
			f := follow(t, server, own)
			if got := f.newest.Load(); got.Limits.SendsPerSecond != 5 || f.level.Level() != slog.LevelWarn {
				t.Fatalf("at the start %v, %v", got.Limits, f.level)
			}

			put("log.level", "debug")
			f.becomes(t, "log.level", "debug")
			eventually(t, func() bool { return f.level.Level() == slog.LevelDebug })
			f.logs(t, "a setting has changed", "setting=log.level", "from=warn", "to=debug", "source=centre")
			put("features.signals", "false")
			f.becomes(t, "features.signals", "false")

			// What can not be keeps the value in force, which is not the file's.
			put("limits.sends_per_second", "lots")
			f.logs(t, "level=ERROR", "setting=limits.sends_per_second", "value=lots", "in_force=5")
			put("nonsense.too", "1")
			f.logs(t, "level=ERROR", "setting=nonsense.too")
			put("cluster.secret", "not for a log") // by somebody who thought that it may change
			f.logs(t, "level=ERROR", "setting=cluster.secret")
			if strings.Contains(f.log.String(), "not for a log") {
				t.Error("a secret was logged")
			}
			put("features.signals", "true") // that others are bad holds nothing up
			f.becomes(t, "features.signals", "true")
			if got := f.newest.Load().Limits.SendsPerSecond; got != 5 {
				t.Fatalf("the value before was not kept: %v", got)
			}
			for label, want := range map[string]float64{"limits.sends_per_second": 1, "unknown": 2, "log.level": 0} {
				if got := f.refusals(t, label); got != want {
					t.Errorf("refused %s %v times, want %v", label, got, want)
				}
			}

			// Another bad one is another complaint; without one it is the file's again.
			put("limits.sends_per_second", "-1")
			f.logs(t, "level=ERROR", "value=-1", "in_force=5")
			if err := operator.DeleteSetting(t.Context(), "limits.sends_per_second"); err != nil {
				t.Fatal(err)
			}
			f.becomes(t, "limits.sends_per_second", "3")
			f.logs(t, "setting=limits.sends_per_second", "from=5", "to=3", "source=configuration")
			if err := operator.DeleteSetting(t.Context(), "log.level"); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { return f.level.Level() == slog.LevelWarn })
		})
	}
}

func mustSettings(t *testing.T, r registry) <-chan map[string]string {
	t.Helper()
	feed, err := r.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return feed
}

func TestWhatChangesNothingIsToldToNobody(t *testing.T) {
	r := memory.NewRegistry()
	f := follow(t, r, defaultConfig(t))
	before := f.told.Load()
	for _, put := range [][2]string{{"log.level", "info"}, {"tracing.sample_rate", "0.010"}, {"nonsense", "x"}, {"log.level", "loud"}} {
		if err := r.PutSetting(t.Context(), put[0], put[1]); err != nil {
			t.Fatal(err)
		}
		f.settings.take(<-mustSettings(t, r))
	}
	if got := f.told.Load(); got != before {
		t.Fatalf("told %d times", got-before)
	}
}

func TestTheOperatorsView(t *testing.T) {
	r := memory.NewRegistry()
	own := defaultConfig(t)
	centre := &Centre{own: own, registry: r, close: func() error { return nil }}
	if err := centre.Set(t.Context(), "log.level", "loud"); err == nil || !strings.HasPrefix(err.Error(), "log.level: ") {
		t.Errorf("a bad value: %v", err)
	}
	if err := centre.Set(t.Context(), "http.listen", "x"); err == nil {
		t.Error("wrote what nobody would follow")
	}
	if got := <-mustSettings(t, r); len(got) != 0 {
		t.Fatalf("written all the same: %v", got)
	}
	for _, err := range []error{
		centre.Set(t.Context(), "limits.sends_per_second", " 5.50 "), r.PutSetting(t.Context(), "nonsense", "x"),
		r.PutSetting(t.Context(), "tracing.sample_rate", "2"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	list, err := centre.List(t.Context())
	if err != nil || len(list) != len(configs.Dynamic())+1 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, s := range list {
		bad := s.Name == "nonsense" || s.Name == "tracing.sample_rate"
		switch {
		case (s.Problem != nil) != bad, bad && s.InForce != "":
			t.Errorf("%+v", s)
		case s.Name == "limits.sends_per_second":
			if s.Own != "0" || !s.IsSet || s.Centre != "5.5" || s.InForce != "5.5" {
				t.Errorf("%+v", s)
			}
		case !bad && (s.IsSet || s.InForce != s.Own || s.Own == ""):
			t.Errorf("%+v", s)
		}
	}
	if err := centre.Unset(t.Context(), "nonsense"); err != nil {
		t.Fatal(err)
	}
	if list, err := centre.List(t.Context()); err != nil || len(list) != len(configs.Dynamic()) {
		t.Fatalf("%+v, %v", list, err)
	}
}

func TestTheCentreOfEmbeddedServers(t *testing.T) {
	_, err := OpenCentre(t.Context(), defaultConfig(t), slog.New(slog.DiscardHandler))
	if err == nil || !strings.HasPrefix(err.Error(), "registry.driver: ") {
		t.Fatal(err)
	}
}

// A number of partitions that data go with can not be changed, on either driver.
func TestFactsThatDifferNameTheirSettings(t *testing.T) {
	dir := t.TempDir()
	store, err := sqlite.Open(t.Context(), dir, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for name, r := range map[string]registry{
		"embedded": embeddedRegistry{memory.NewRegistry(), store}, "cluster": memory.NewRegistry(),
	} {
		agree := func(change func(*configs.Config)) string {
			c := defaultConfig(t)
			change(c)
			p := &process{App: newApp(slog.New(slog.DiscardHandler)), config: c, registry: r}
			if err := p.agree(t.Context()); err != nil {
				return err.Error()
			}
			return ""
		}
		if got := agree(func(*configs.Config) {}); got != "" {
			t.Fatalf("%s, the first: %s", name, got)
		}
		if got := agree(func(*configs.Config) {}); got != "" {
			t.Errorf("%s, the same again: %s", name, got)
		}
		if got := agree(func(c *configs.Config) { c.Transfer.InboxPartitions = 8 }); !strings.HasPrefix(got, "transfer.inbox_partitions: is 8 here, but 16") {
			t.Errorf("%s: %s", name, got)
		}
		got := agree(func(c *configs.Config) { c.Transfer.ConversationPartitions, c.Transfer.Prefetch = 4, 1 })
		if !strings.Contains(got, "transfer.conversation_partitions: is 4") || strings.Contains(got, "inbox_partitions") ||
			strings.Contains(got, "transfer.prefetch: is 1") != (name == "cluster") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if err := compareFacts(im.ClusterFacts{Format: 1}, im.ClusterFacts{Format: 2}); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("another format: %v", err)
	}
}

// Nobody joins who counts partitions otherwise: neither the gateways, which hash users
// to them, nor a process with all roles whose data were counted so.
func TestServersThatCountOtherwiseDoNotStart(t *testing.T) {
	refused := func(t *testing.T, role string, c *configs.Config) {
		t.Helper()
		started, err := New(t.Context(), role, c, Options{})
		if err == nil {
			started.Stop(context.Background()) //nolint:errcheck // it should not be there
		}
		if err == nil || !strings.Contains(err.Error(), "transfer.inbox_partitions: is 8 here, but 16") {
			t.Fatalf("%s: %v", role, err)
		}
	}
	t.Run("gateways", func(t *testing.T) {
		c := defaultConfig(t)
		uri := startEtcd(t)
		first := &process{App: newApp(slog.New(slog.DiscardHandler)), config: c, registry: openEtcd(t, uri)}
		if err := first.agree(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Store.Driver, c.Queue.Driver.Driver, c.Registry.Driver.Driver = "mongo", "rabbitmq", "etcd"
		c.Registry.URI, c.Cluster.Secret = configs.Secret(uri), clusterOf("a").Secret
		c.Transfer.InboxPartitions = 8
		refused(t, WebSocket, c)
		refused(t, TCP, c)
	})
	t.Run("all", func(t *testing.T) {
		c := defaultConfig(t)
		c.DataDir = t.TempDir()
		for _, address := range []*string{&c.HTTP.Listen, &c.WebSocket.Listen, &c.TCP.Listen, &c.Admin.Listen} {
			*address = "127.0.0.1:0"
		}
		started, err := New(t.Context(), All, c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := started.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.Transfer.InboxPartitions = 8
		refused(t, All, c)
	})
}
