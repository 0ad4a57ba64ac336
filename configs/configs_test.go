package configs_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im/configs"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "im.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string, overrides map[string]string) *configs.Config {
	t.Helper()
	c, err := configs.Load(file(t, text), overrides)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c, err := configs.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct{ got, want any }{
		{c.DataDir, "./data"},
		{c.HTTP.Listen, "127.0.0.1:8080"},
		{c.WebSocket.Listen, "127.0.0.1:8081"},
		{c.TCP.Listen, "127.0.0.1:8082"},
		{c.Transfer.Listen, "127.0.0.1:8083"},
		{c.Transfer.ConversationPartitions, 16},
		{c.Transfer.InboxPartitions, 16},
		{c.Session.HeartbeatSeconds, 30},
		{c.Retention.Inbox, 30 * 24 * time.Hour},
		{c.Session.Window, 256},
		{c.Session.AuthTimeout, 5 * time.Second},
		{c.Session.SlowTimeout, time.Minute},
		{c.Session.PerPlatform, 1},
		{c.Auth.AccessTokenTTL, 15 * time.Minute},
		{c.Auth.RefreshTokenTTL, 30 * 24 * time.Hour},
		{c.Store.Driver, "sqlite"},
		{c.Queue.Driver.Driver, "memory"},
		{c.Registry.Driver.Driver, "memory"},
		{c.Registry.TTL, 10 * time.Second},
		{c.Queue.Heartbeat, 5 * time.Second},
		{string(c.HTTP.ServiceKey), ""},
	} {
		if d.got != d.want {
			t.Errorf("got %v, want %v", d.got, d.want)
		}
	}
	if err := configs.Check(file(t, string(configs.DefaultYAML())), nil); err != nil {
		t.Errorf("the printed default is refused: %v", err)
	}
}

// Every field has its line in im.yaml; that every line has its field is checked at
// each load. And every line is explained.
func TestEverySettingIsInTheFile(t *testing.T) {
	text := string(configs.DefaultYAML())
	var fields func(typ reflect.Type)
	fields = func(typ reflect.Type) {
		for i := range typ.NumField() {
			field := typ.Field(i)
			name, _, squash := strings.Cut(field.Tag.Get("mapstructure"), ",")
			if !squash && name != "-" && !strings.Contains(text, name+":") {
				t.Errorf("%s is not in im.yaml", name)
			}
			if field.Type.Kind() == reflect.Struct {
				fields(field.Type)
			}
		}
	}
	fields(reflect.TypeFor[configs.Config]())

	explained := false
	for number, line := range strings.Split(text, "\n") {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "#"):
			explained = true
		case trimmed == "":
			explained = false
		case strings.HasPrefix(line, "  ") && !explained && !strings.HasSuffix(trimmed, ":"):
			if name, _, _ := strings.Cut(trimmed, ":"); name != "listen" {
				t.Errorf("im.yaml:%d: %s has no comment", number+1, name)
			}
		}
	}
}

func TestFileEnvironmentAndOverridesInThisOrder(t *testing.T) {
	t.Setenv("IM_TCP_LISTEN", "127.0.0.1:2")
	t.Setenv("IM_WEBSOCKET_LISTEN", "127.0.0.1:2")
	t.Setenv("IM_SESSION_AUTH_TIMEOUT", "7s")
	t.Setenv("IM_HTTP_CORS_ORIGINS", "https://a.example,https://b.example")
	c := load(t, `
http: {listen: "127.0.0.1:1"}
websocket: {listen: "127.0.0.1:1"}
tcp: {listen: "127.0.0.1:1"}
session:
  # nothing under it: the defaults stand
`, map[string]string{"websocket.listen": "127.0.0.1:3", "session.window": "9"})
	for _, d := range []struct{ got, want any }{
		{c.HTTP.Listen, "127.0.0.1:1"},
		{c.TCP.Listen, "127.0.0.1:2"},
		{c.WebSocket.Listen, "127.0.0.1:3"},
		{c.Session.AuthTimeout, 7 * time.Second},
		{c.Session.Window, 9},
		{c.Session.HeartbeatSeconds, 30},
		{c.Retention.Inbox, 30 * 24 * time.Hour},
		{strings.Join(c.HTTP.CORSOrigins, " "), "https://a.example https://b.example"},
	} {
		if d.got != d.want {
			t.Errorf("got %v, want %v", d.got, d.want)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	for _, c := range []struct{ name, text, says string }{
		{"an unknown key", "http: {listne: x}", "http.listne: no such setting"},
		{"an unknown section", "htp: {listen: x}", "htp.listen: no such setting"},
		{"all of them", "a: 1\nb: 2", "b: no such setting"},
		{"a value for a section", "http: 5", "http is a section"},
		{"a section for a value", "data_dir: {x: 1}", "data_dir.x: no such setting"},
		{"a key twice", "data_dir: a\ndata_dir: b", "data_dir"},
		{"no yaml", "a: [", "im.yaml"},
		{"a service key", "http: {service_key: 0123456789abcdef}", "http.service_key is a secret"},
		{"a token secret", "auth: {secret: x}", "IM_AUTH_SECRET"},
		{"a cluster secret", "cluster: {secret: x}", "cluster.secret_file"},
		{"a password", "store: {uri: 'mongodb://me:pass@h/im'}", "store.uri holds a password"},
		{"a second address with a password", "registry: {uri: 'http://h1,http://me:pass@h2'}", "registry.uri holds a password"},
		{"a word for a number", "session: {window: many}", "wrong type: 'session.window'"},
		{"a duration without a unit", "session: {auth_timeout: 5}", "session.auth_timeout: must be at least 100ms"},
		{"a number out of range", "transfer: {inbox_partitions: 0}", "transfer.inbox_partitions: must be 1 to 1024"},
		{"a listener without a port", "tcp: {listen: localhost}", "tcp.listen"},
		{"a port out of range", "tcp: {listen: 'localhost:65536'}", "tcp.listen"},
		{"nobody can dial it", "tcp: {listen: ':8082'}", "tcp.advertise"},
		{"told an address nobody can dial", "tcp: {advertise: '0.0.0.0:1'}", "tcp.advertise"},
		{"half of a key pair", "http: {tls_key_file: k.pem}", "http.tls_cert_file"},
		{"authorities alone", "cluster: {tls_ca_file: ca.pem}", "cluster.tls_ca_file: needs cluster.tls_cert_file"},
		{"an origin with a path", "websocket: {origins: ['https://a.example/x']}", "websocket.origins"},
		{"no network", "http: {trusted_proxies: [10.0.0.1]}", "http.trusted_proxies"},
		{"a name with a port", "admin: {hosts: ['im.example.org:8090']}", "admin.hosts"},
		{"an address for a name", "admin: {hosts: ['http://im.example.org']}", "admin.hosts"},
		{"an unknown driver", "queue: {driver: kafka}", `queue.driver: must be memory or rabbitmq, not "kafka"`},
		{"a bound below the backlog", "queue: {bound: 100}", "queue.bound: must be above transfer.backlog"},
		{"a retention of nothing much", "retention: {inbox: 1ms}", "retention.inbox: must be at least 1s"},
		{"a retention below zero", "retention: {inbox: -1h}", "retention.inbox: must be at least 1s"},
		{
			"a retention shorter than an outage", "queue: {driver: rabbitmq, uri: 'amqp://h/'}\nretention: {inbox: 10m}",
			"retention.inbox: must be at least 1h0m0s",
		},
		{"a heartbeat too short", "queue: {heartbeat: 10ms}", "queue.heartbeat: must be at least 1s"},
		{"a lease too short", "registry: {ttl: 1}", "registry.ttl: must be at least 1s"},
		{"a lease of part of a second", "registry: {ttl: 2500ms}", "registry.ttl: must be whole seconds"},
		{"a share above one", "tracing: {sample_rate: 1.5}", "tracing.sample_rate"},
		{"no share", "tracing: {sample_rate: .nan}", "tracing.sample_rate"},
		{"an unknown level", "log: {level: loud}", "log.level"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := configs.Check(file(t, c.text), nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q in it", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "pass@") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// Every node of the broker must have an address, which may hold a password.
func TestTheNodesOfTheBroker(t *testing.T) {
	for uri, says := range map[string]string{
		"amqp://a/, amqps://user:pass@b:5671/": "",
		"amqp://a/, http://user:pass@b/":       "queue.uri: address 2 of 2 is no amqp://host:5672/",
		"a:5672":                               "queue.uri: address 1 of 1 is no amqp://host:5672/",
		"amqp://a/,":                           "queue.uri: address 2 of 2 is no amqp://host:5672/",
	} {
		t.Setenv("IM_QUEUE_URI", uri)
		_, err := configs.Load(file(t, distributed), map[string]string{"store.uri": "mongodb://m/", "registry.uri": "http://e/"})
		if text := fmt.Sprint(err); says == "" && err != nil || !strings.Contains(text, says) || strings.Contains(text, "pass@") {
			t.Errorf("%s: got %v, want %q in it", uri, err, says)
		}
	}
}

const distributed = "store: {driver: mongo}\nqueue: {driver: rabbitmq}\nregistry: {driver: etcd}"

// A server that has no address of its store can not start; a file without one may be
// good, for the environment of the servers may have it, and their secrets.
func TestACheckMissesNothingThatTheEnvironmentMayGive(t *testing.T) {
	path := file(t, distributed)
	if err := configs.Check(path, nil); err != nil {
		t.Errorf("check: %v", err)
	}
	if _, err := configs.Load(path, nil); err == nil || !strings.Contains(err.Error(), "store.uri: is needed by mongo") {
		t.Errorf("load: %v", err)
	}
	if err := configs.Check(path, map[string]string{"log.level": "loud", "log.levle": "info"}); err == nil || !strings.Contains(err.Error(), "log.levle: no such setting") {
		t.Errorf("check with overrides: %v", err)
	}
	if err := configs.Check("", map[string]string{"log.level": "loud"}); err == nil || !strings.Contains(err.Error(), "log.level") {
		t.Errorf("check of overrides alone: %v", err)
	}
}

// Who only talks to the configuration centre, or to the operators' listener, needs
// what that takes: neither the servers' secrets, which an operator may not read, nor
// the rest of their settings.
func TestOperatorsNeedWhatTheyUse(t *testing.T) {
	path := file(t, "registry: {driver: etcd, uri: 'http://h:2379/im'}\nauth: {secret_file: /nowhere}\nhttp: {service_key_file: /nowhere}\nadmin: {listen: 'h:1'}")
	if _, err := configs.Load(path, nil); err == nil {
		t.Error("a server would start so")
	}
	c, err := configs.LoadCentre(path, nil)
	if err != nil || c.Registry.URI != "http://h:2379/im" {
		t.Fatalf("for the centre: %v", err)
	}
	if next, err := c.With("limits.sends_per_second", "20"); err != nil || next.Limits.SendsPerSecond != 20 {
		t.Errorf("change a setting: %v", err)
	}
	if _, err := c.With("limits.sends_per_second", "-1"); err == nil {
		t.Error("a bad value was taken")
	}
	if c, err := configs.LoadAdmin(path, nil); err != nil || c.AdminListen("http") != "h:1" {
		t.Errorf("for the operators' listener: %v", err)
	}
	for setting, load := range map[string]func(string, map[string]string) (*configs.Config, error){
		"registry.ttl": configs.LoadCentre, "log.level": configs.LoadCentre, "admin.listen": configs.LoadAdmin,
	} {
		if _, err := load(path, map[string]string{setting: "12ms"}); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("a bad %s: %v", setting, err)
		}
	}
}

func TestSecretsComeFromFilesOrTheEnvironment(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "http: {service_key_file: " + key + "}"
	if c := load(t, text, nil); c.HTTP.ServiceKey != "0123456789abcdef" {
		t.Errorf("from the file: %q", string(c.HTTP.ServiceKey))
	}
	t.Setenv("IM_HTTP_SERVICE_KEY", "fedcba9876543210")
	t.Setenv("IM_STORE_URI", "mongodb://me:pass@h/im")
	c := load(t, text, nil)
	if c.HTTP.ServiceKey != "fedcba9876543210" || c.Store.URI != "mongodb://me:pass@h/im" {
		t.Errorf("from the environment: %q, %q", string(c.HTTP.ServiceKey), string(c.Store.URI))
	}

	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "key", c.HTTP.ServiceKey, "config", *c)
	for _, shown := range []string{logged.String(), fmt.Sprintf("%v %+v %#v", *c, *c, *c)} {
		if strings.Contains(shown, "fedcba") || strings.Contains(shown, "pass@") {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
}

func TestBadSecrets(t *testing.T) {
	if err := configs.Check(file(t, "http: {service_key_file: /nowhere}"), nil); err != nil {
		t.Errorf("check opened a secret's file: %v", err)
	}
	for _, c := range []struct {
		name, text string
		overrides  map[string]string
		says       string
	}{
		{"a file that is not there", "http: {service_key_file: /nowhere}", nil, "http.service_key_file"},
		{"an empty file", "auth: {secret_file: /dev/null}", nil, "auth.secret_file"},
		{"a flag", "", map[string]string{"http.service_key": "0123456789abcdef"}, "http.service_key is a secret"},
		{"an unknown flag", "", map[string]string{"nothing": "x"}, "nothing: no such setting"},
		{"an address twice", "store: {uri: 'mongodb://h', uri_file: /x}", nil, "both given"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := configs.Load(file(t, c.text), c.overrides); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q in it", err, c.says)
			}
		})
	}
	long := strings.Repeat("x", 32)
	for value, good := range map[string]bool{long: true, long + "\n" + long: true, long[1:]: false, long + " short": false} {
		t.Setenv("IM_CLUSTER_SECRET", value)
		_, err := configs.Load("", nil)
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "cluster.secret must be at least 32 bytes") {
			t.Errorf("cluster.secret %q: %v", value, err)
		}
	}
	t.Setenv("IM_CLUSTER_SECRET", "")
	t.Setenv("IM_AUTH_SECRET", "short")
	if _, err := configs.Load("", nil); err == nil || !strings.Contains(err.Error(), "auth.secret must be at least 32 bytes") {
		t.Errorf("a short secret: %v", err)
	}
}

func TestRoles(t *testing.T) {
	c := load(t, "", nil)
	if err := c.CheckRole("all"); err != nil {
		t.Errorf("all: %v", err)
	}
	for role, says := range map[string][]string{
		"websocket": {"store.driver", "cluster.secret"},
		"http":      {"store.driver", "cluster.secret", "auth.secret"},
		"transfer":  {"store.driver", "cluster.secret", "auth.secret"},
	} {
		err := c.CheckRole(role)
		for _, what := range says {
			if err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: %v, want %s in it", role, err, what)
			}
		}
	}
	for role, address := range map[string]string{
		"all": "127.0.0.1:8090", "http": "127.0.0.1:8090", "websocket": "127.0.0.1:8091",
		"tcp": "127.0.0.1:8092", "transfer": "127.0.0.1:8093",
	} {
		if got := c.AdminListen(role); got != address {
			t.Errorf("admin of %s is %s", role, got)
		}
	}
	c.Admin.Listen = "127.0.0.1:1"
	if got := c.AdminListen("tcp"); got != "127.0.0.1:1" {
		t.Errorf("admin.listen is not heeded: %s", got)
	}
}

func TestMisspeltVariables(t *testing.T) {
	got := configs.Unknown([]string{
		"IM_HTTP_LISTEN=x", "IM_HTP_LISTEN=x", "IM_AUTH_SECRET=x", "IM_TEST_REQUIRE=all", "IM_INSTALL=1", "PATH=x",
	})
	if !slices.Equal(got, []string{"IM_HTP_LISTEN"}) {
		t.Errorf("got %v", got)
	}
}
