package configs

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/im-transfer/im"
)

// findings collects what is wrong, by setting.
type findings struct{ errs []error }

func (f *findings) add(key, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf(key+": "+format, args...))
}

func (c *Config) validate() error {
	var f findings
	if c.DataDir == "" {
		f.add("data_dir", "must not be empty")
	}
	c.validateDynamic(&f)
	f.oneOf("log.format", c.Log.Format, "text", "json")
	c.validateListeners(&f)
	c.validateTransfer(&f)
	c.validateSessions(&f)
	c.validateDrivers(&f)
	if c.Tracing.Endpoint != "" && !isHTTP(c.Tracing.Endpoint) {
		f.add("tracing.endpoint", "%q is no http or https address", c.Tracing.Endpoint)
	}
	f.atLeast("shutdown.timeout", c.Shutdown.Timeout, 100*time.Millisecond)
	return errors.Join(f.errs...)
}

// validateDynamic judges the settings that the configuration centre may change. None
// of them depends on another one.
func (c *Config) validateDynamic(f *findings) {
	f.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	if n := c.Limits.SendsPerSecond; !(n >= 0 && n <= 1e6) {
		f.add("limits.sends_per_second", "must be 0 to 1000000, not %v", n)
	}
	f.between("limits.send_burst", c.Limits.SendBurst, 0, 1e6)
	f.between("limits.recall_seconds", c.Limits.RecallSeconds, 0, 1e9)
	if rate := c.Tracing.SampleRate; !(rate >= 0 && rate <= 1) {
		f.add("tracing.sample_rate", "must be 0 to 1, not %v", rate)
	}
}

func (c *Config) validateListeners(f *findings) {
	f.listener("http.listen", c.HTTP.Listen)
	f.listener("websocket.listen", c.WebSocket.Listen)
	f.listener("tcp.listen", c.TCP.Listen)
	f.listener("transfer.listen", c.Transfer.Listen)
	c.validateAdmin(f)
	f.advertised("websocket", c.WebSocket.Advertise, c.WebSocket.Listen)
	f.advertised("tcp", c.TCP.Advertise, c.TCP.Listen)
	f.advertised("transfer", c.Transfer.Advertise, c.Transfer.Listen)
	f.tls("http", c.HTTP.TLS)
	f.tls("websocket", c.WebSocket.TLS)
	f.tls("tcp", c.TCP.TLS)
	f.tls("cluster", c.Cluster.TLS)
	if c.Cluster.CAFile != "" && c.Cluster.CertFile == "" {
		f.add("cluster.tls_ca_file", "needs cluster.tls_cert_file: with it both sides show a certificate")
	}
	f.origins("http.cors_origins", c.HTTP.CORSOrigins)
	f.origins("websocket.origins", c.WebSocket.Origins)
	for _, network := range c.HTTP.TrustedProxies {
		if _, err := netip.ParsePrefix(network); err != nil {
			f.add("http.trusted_proxies", "%q is no network such as 10.0.0.0/8", network)
		}
	}
}

func (c *Config) validateAdmin(f *findings) {
	if c.Admin.Listen != "" {
		f.listener("admin.listen", c.Admin.Listen)
	}
	for _, host := range c.Admin.Hosts {
		if u, err := url.Parse("//" + host); err != nil || host == "" || u.Host != host || u.Port() != "" {
			f.add("admin.hosts", "%q is no name of a host, without a port", host)
		}
	}
}

func (c *Config) validateTransfer(f *findings) {
	f.between("transfer.conversation_partitions", c.Transfer.ConversationPartitions, 1, im.MaxPartitions)
	f.between("transfer.inbox_partitions", c.Transfer.InboxPartitions, 1, im.MaxPartitions)
	f.between("transfer.prefetch", c.Transfer.Prefetch, 1, math.MaxUint16)
	f.between("transfer.backlog", c.Transfer.Backlog, 1, math.MaxInt32)
	if c.Retention.Inbox != 0 {
		f.atLeast("retention.inbox", c.Retention.Inbox, c.leastRetention())
	}
	if c.Retention.Connections != 0 {
		f.atLeast("retention.connections", c.Retention.Connections, time.Second)
	}
	if c.Retention.Progress != 0 {
		f.atLeast("retention.progress", c.Retention.Progress, time.Second)
	}
}

// leastRetention is for how long an inbox is kept at least. A queue that outlives
// its process may deliver something again after an outage; what it became has to
// be in the inbox still, or it would come twice.
func (c *Config) leastRetention() time.Duration {
	if c.Queue.Driver.Driver == "memory" {
		return time.Second
	}
	return time.Hour
}

func (c *Config) validateSessions(f *findings) {
	f.between("session.heartbeat_seconds", c.Session.HeartbeatSeconds, 1, 3600)
	f.between("session.window", c.Session.Window, 1, 10_000)
	f.atLeast("session.auth_timeout", c.Session.AuthTimeout, 100*time.Millisecond)
	f.atLeast("session.slow_timeout", c.Session.SlowTimeout, time.Second)
	f.between("session.per_platform", c.Session.PerPlatform, 1, maxPerPlatform)
	if _, err := c.Session.PlatformLimits(); err != nil {
		f.add("session.platforms", "%w", err)
	}
	f.between("session.max_connections", c.Session.MaxConnections, 0, math.MaxInt32)
	f.between("session.return_rate", c.Session.ReturnRate, 1, 1_000_000)
	f.between("session.rooms", c.Session.Rooms, 1, 1000)
	f.atLeast("auth.access_token_ttl", c.Auth.AccessTokenTTL, time.Second)
	f.atLeast("auth.refresh_token_ttl", c.Auth.RefreshTokenTTL, c.Auth.AccessTokenTTL)
	f.between("auth.logins_per_name", c.Auth.LoginsPerName, 1, 1e6)
	f.atLeast("auth.logins_per_name_every", c.Auth.LoginsPerNameEvery, time.Millisecond)
	f.between("auth.logins_per_address", c.Auth.LoginsPerAddress, 1, 1e6)
	f.atLeast("auth.logins_per_address_every", c.Auth.LoginsPerAddressEvery, time.Millisecond)
	f.between("auth.registrations_per_address", c.Auth.RegistrationsPerAddress, 1, 1e6)
	f.atLeast("auth.registrations_per_address_every", c.Auth.RegistrationsPerAddressEvery, time.Millisecond)
}

func (c *Config) validateDrivers(f *findings) {
	f.driver("store", c.Store, "sqlite", "mongo")
	f.driver("queue", c.Queue.Driver, "memory", "rabbitmq")
	if c.Queue.Driver.Driver == "rabbitmq" && c.Queue.URI.known() {
		f.brokers("queue.uri", c.Queue.URI.Addresses())
	}
	c.validateRegistry(f)
	if n := c.distributed(); n != 0 && n != 3 {
		f.add("store.driver", "goes with queue.driver and registry.driver: sqlite, memory and memory, or mongo, rabbitmq and etcd; not %s, %s and %s",
			c.Store.Driver, c.Queue.Driver.Driver, c.Registry.Driver.Driver)
	}
	if c.Queue.Bound <= c.Transfer.Backlog {
		f.add("queue.bound", "must be above transfer.backlog (%d), not %d", c.Transfer.Backlog, c.Queue.Bound)
	}
	f.atLeast("queue.heartbeat", c.Queue.Heartbeat, time.Second)
}

func (c *Config) validateRegistry(f *findings) {
	f.driver("registry", c.Registry.Driver, "memory", "etcd")
	f.atLeast("registry.ttl", c.Registry.TTL, time.Second)
	if c.Registry.TTL%time.Second != 0 {
		f.add("registry.ttl", "must be whole seconds, not %v", c.Registry.TTL)
	}
}

// distributed counts the drivers that several processes can share.
func (c *Config) distributed() int {
	n := 0
	for _, driver := range []string{c.Store.Driver, c.Queue.Driver.Driver, c.Registry.Driver.Driver} {
		if driver == "mongo" || driver == "rabbitmq" || driver == "etcd" {
			n++
		}
	}
	return n
}

// CheckRole says what is missing to run one role, "http", "websocket", "tcp" or
// "transfer", as a process of its own, or "all" of them on distributed drivers.
func (c *Config) CheckRole(role string) error {
	var f findings
	switch {
	case role == "all" && c.Embedded():
		return nil
	case c.Embedded():
		f.add("store.driver", "the embedded drivers serve one process only; %s as a role of its own needs mongo, rabbitmq and etcd", role)
	}
	if role != "websocket" && role != "tcp" && c.Auth.Secret == "" {
		f.add("auth.secret", "is needed by %s: give it as %s or auth.secret_file", role, Variable("auth.secret"))
	}
	if c.Cluster.Secret == "" {
		f.add("cluster.secret", "is needed by %s: give it as %s or cluster.secret_file", role, Variable("cluster.secret"))
	}
	return errors.Join(f.errs...)
}

func (f *findings) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.add(key, "must be %s, not %q", strings.Join(allowed, " or "), value)
	}
}

func (f *findings) between(key string, value, low, high int) {
	if value < low || value > high {
		f.add(key, "must be %d to %d, not %d", low, high, value)
	}
}

func (f *findings) atLeast(key string, value, low time.Duration) {
	if value < low {
		f.add(key, "must be at least %v, not %v (is the unit missing?)", low, value)
	}
}

func (f *findings) listener(key, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		f.add(key, "%q is no host:port", address)
	}
}

// advertised judges the address that others are told, which must be one that they
// can dial.
func (f *findings) advertised(section, advertise, listen string) {
	if advertise != "" {
		f.listener(section+".advertise", advertise)
		listen = advertise
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return // the listener's finding says it
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		f.add(section+".advertise", "must name a host that others can dial, as %q does not", listen)
	}
}

func (f *findings) tls(section string, files TLS) {
	if (files.CertFile == "") != (files.KeyFile == "") {
		f.add(section+".tls_cert_file", "goes with %s.tls_key_file: give both or neither", section)
	}
}

func (f *findings) origins(key string, origins []string) {
	for _, origin := range origins {
		if u, err := url.Parse(origin); origin != "*" &&
			(err != nil || !isHTTP(origin) || u.Path != "" || u.RawQuery != "" || u.User != nil) {
			f.add(key, "%q is no origin such as https://example.org", origin)
		}
	}
}

func (f *findings) driver(section string, d Driver, embedded, distributed string) {
	f.oneOf(section+".driver", d.Driver, embedded, distributed)
	if d.Driver == distributed && d.URI == "" && d.URIFile == "" {
		f.add(section+".uri", "is needed by %s", distributed)
	}
}

// brokers judges the addresses of a broker's nodes. They may hold a password, and are
// not repeated.
func (f *findings) brokers(key string, addresses []string) {
	for i, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" || u.Host == "" {
			f.add(key, "address %d of %d is no amqp://host:5672/", i+1, len(addresses))
		}
	}
}

func isHTTP(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
