// Package configs holds the default configuration, im.yaml, and the strict loader
// of files, environment and flags over it. im.yaml says what each setting means.
package configs

import (
	_ "embed"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/im-transfer/im"
)

//go:embed im.yaml
var defaultYAML []byte

// DefaultYAML returns the default configuration as a commented file.
func DefaultYAML() []byte { return append([]byte(nil), defaultYAML...) }

// Config is all settings, named as in im.yaml.
type Config struct {
	DataDir   string    `mapstructure:"data_dir"`
	Log       Log       `mapstructure:"log"`
	HTTP      HTTP      `mapstructure:"http"`
	WebSocket WebSocket `mapstructure:"websocket"`
	TCP       TCP       `mapstructure:"tcp"`
	Transfer  Transfer  `mapstructure:"transfer"`
	Admin     Admin     `mapstructure:"admin"`
	Session   Session   `mapstructure:"session"`
	Auth      Auth      `mapstructure:"auth"`
	Limits    Limits    `mapstructure:"limits"`
	Features  Features  `mapstructure:"features"`
	Retention Retention `mapstructure:"retention"`
	Store     Driver    `mapstructure:"store"`
	Queue     Queue     `mapstructure:"queue"`
	Registry  Registry  `mapstructure:"registry"`
	Cluster   Cluster   `mapstructure:"cluster"`
	Tracing   Tracing   `mapstructure:"tracing"`
	Shutdown  Shutdown  `mapstructure:"shutdown"`
}

// Log says what is logged, and how.
type Log struct {
	Level  string `mapstructure:"level"`
	Format string `mapstructure:"format"`
}

// SlogLevel is Level as a log handler takes it.
func (l Log) SlogLevel() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return slog.LevelInfo // validation lets no such name through
	}
	return level
}

// TLS names the PEM files of a listener; both are empty for none.
type TLS struct {
	CertFile string `mapstructure:"tls_cert_file"`
	KeyFile  string `mapstructure:"tls_key_file"`
}

// HTTP is the http server.
type HTTP struct {
	TLS            `mapstructure:",squash"`
	Listen         string   `mapstructure:"listen"`
	CORSOrigins    []string `mapstructure:"cors_origins"`
	TrustedProxies []string `mapstructure:"trusted_proxies"`
	ServiceKeyFile string   `mapstructure:"service_key_file"`
	ServiceKey     Secret   `mapstructure:"-"`
}

// WebSocket is the websocket server.
type WebSocket struct {
	TLS       `mapstructure:",squash"`
	Listen    string   `mapstructure:"listen"`
	Advertise string   `mapstructure:"advertise"`
	Origins   []string `mapstructure:"origins"`
}

// TCP is the tcp server.
type TCP struct {
	TLS       `mapstructure:",squash"`
	Listen    string `mapstructure:"listen"`
	Advertise string `mapstructure:"advertise"`
}

// Transfer is the transfer server.
type Transfer struct {
	Listen                 string `mapstructure:"listen"`
	Advertise              string `mapstructure:"advertise"`
	ConversationPartitions int    `mapstructure:"conversation_partitions"`
	InboxPartitions        int    `mapstructure:"inbox_partitions"`
	Prefetch               int    `mapstructure:"prefetch"`
	Backlog                int    `mapstructure:"backlog"`
}

// Admin is the listener for operators. See Config.AdminListen.
type Admin struct {
	Listen string   `mapstructure:"listen"`
	Hosts  []string `mapstructure:"hosts"`
}

// Session bounds connected devices.
type Session struct {
	HeartbeatSeconds int           `mapstructure:"heartbeat_seconds"`
	Window           int           `mapstructure:"window"`
	AuthTimeout      time.Duration `mapstructure:"auth_timeout"`
	SlowTimeout      time.Duration `mapstructure:"slow_timeout"`
	PerPlatform      int           `mapstructure:"per_platform"`
	Platforms        []string      `mapstructure:"platforms"`
	MaxConnections   int           `mapstructure:"max_connections"`
	ReturnRate       int           `mapstructure:"return_rate"`
	Rooms            int           `mapstructure:"rooms"`
}

// PlatformLimits returns Platforms as numbers of live sessions, by platform; an error
// names what is none.
func (s *Session) PlatformLimits() (map[string]int, error) {
	limits := make(map[string]int, len(s.Platforms))
	for _, rule := range s.Platforms {
		platform, number, _ := strings.Cut(rule, "=")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > maxPerPlatform || !im.ValidPlatform(platform) || limits[platform] != 0 {
			return nil, fmt.Errorf("%q is no rule such as desktop=2, or stands there twice", rule)
		}
		limits[platform] = n
	}
	return limits, nil
}

// maxPerPlatform bounds the live sessions of a user on one platform.
const maxPerPlatform = 1000

// Auth is about accounts and tokens.
type Auth struct {
	SecretFile            string        `mapstructure:"secret_file"`
	Secret                Secret        `mapstructure:"-"`
	AccessTokenTTL        time.Duration `mapstructure:"access_token_ttl"`
	RefreshTokenTTL       time.Duration `mapstructure:"refresh_token_ttl"`
	LoginsPerName         int           `mapstructure:"logins_per_name"`
	LoginsPerNameEvery    time.Duration `mapstructure:"logins_per_name_every"`
	LoginsPerAddress      int           `mapstructure:"logins_per_address"`
	LoginsPerAddressEvery time.Duration `mapstructure:"logins_per_address_every"`

	RegistrationsPerAddress      int           `mapstructure:"registrations_per_address"`
	RegistrationsPerAddressEvery time.Duration `mapstructure:"registrations_per_address_every"`
}

// Limits are of one user.
type Limits struct {
	SendsPerSecond float64 `mapstructure:"sends_per_second"`
	SendBurst      int     `mapstructure:"send_burst"`
	RecallSeconds  int     `mapstructure:"recall_seconds"`
}

// Features are what can be switched off.
type Features struct {
	Registration bool `mapstructure:"registration"`
	Signals      bool `mapstructure:"signals"`
	UserRooms    bool `mapstructure:"user_rooms"`
}

// Retention says for how long what is over is kept.
type Retention struct {
	Inbox       time.Duration `mapstructure:"inbox"` // 0 = for ever, as below
	Connections time.Duration `mapstructure:"connections"`
	Progress    time.Duration `mapstructure:"progress"`
}

// Driver is one of the store, the queue and the registry.
type Driver struct {
	Driver  string `mapstructure:"driver"`
	URI     Secret `mapstructure:"uri"` // it may hold a password
	URIFile string `mapstructure:"uri_file"`
}

// Queue is the queue's driver, the bound of the one in memory, and the heartbeat of
// RabbitMQ.
type Queue struct {
	Driver    `mapstructure:",squash"`
	Bound     int           `mapstructure:"bound"`
	Heartbeat time.Duration `mapstructure:"heartbeat"`
}

// Registry is the registry's driver and the time that a dead server stays in etcd.
type Registry struct {
	Driver `mapstructure:",squash"`
	TTL    time.Duration `mapstructure:"ttl"`
}

// Cluster is how separate servers know each other.
type Cluster struct {
	TLS        `mapstructure:",squash"`
	CAFile     string `mapstructure:"tls_ca_file"`
	SecretFile string `mapstructure:"secret_file"`
	Secret     Secret `mapstructure:"-"`
}

// Tracing says where traces go.
type Tracing struct {
	Endpoint   string  `mapstructure:"endpoint"`
	SampleRate float64 `mapstructure:"sample_rate"`
}

// Shutdown bounds the end of a server.
type Shutdown struct {
	Timeout time.Duration `mapstructure:"timeout"`
}

// Embedded reports whether everything is kept in one process. Else all drivers are
// distributed ones.
func (c *Config) Embedded() bool { return c.Store.Driver == "sqlite" }

// AdminListen returns where the operators' listener of a role is: "all", "http",
// "websocket", "tcp" or "transfer".
func (c *Config) AdminListen(role string) string {
	if c.Admin.Listen != "" {
		return c.Admin.Listen
	}
	switch role {
	case "websocket":
		return "127.0.0.1:8091"
	case "tcp":
		return "127.0.0.1:8092"
	case "transfer":
		return "127.0.0.1:8093"
	}
	return "127.0.0.1:8090"
}

// Secret is text that is shown nowhere: printing or logging it gives dots.
type Secret string

const dots = "…"

// String returns dots, or nothing where there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return dots
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue is String, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
