package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/argon2"
	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/http"
	"github.com/im-transfer/im/session"
)

// startHTTP starts the http server. It reaches the pipeline over a link of its own,
// as a gateway does.
func (p *process) startHTTP(ctx context.Context) error {
	link, id, err := p.link("http")
	if err != nil {
		return err
	}
	config, err := p.httpConfig()
	if err != nil {
		return err
	}
	config.ServerID = id
	config.Tracer = p.tracer("http", id)
	passwords, err := argon2.New(argon2.Params{})
	if err != nil {
		return fmt.Errorf("password hashing: %w", err)
	}
	server, err := http.New(config, http.Services{
		Accounts: p.store, Devices: p.store, Histories: p.store, Relations: p.store, Journals: p.store, Passports: p.store,
		Broadcasts: p.store,
		Pipeline:   session.NewCaller(link), Discovery: p.registry, Tokens: p.tokens, Passwords: passwords,
	}, p.log.With("server", "http"))
	if err != nil {
		return err
	}
	p.settings.follow(func(c *configs.Config) { server.SetPolicy(httpPolicy(c)) })
	if err := server.Start(ctx); err != nil {
		return taken("http.listen", err)
	}
	p.started("http", func(ctx context.Context) error {
		patient, cancel := context.WithTimeout(ctx, drainPatience) // the pipeline after it needs time too
		defer cancel()
		return server.Stop(patient)
	})
	p.watch("http", server.Failed())
	p.Addresses["http.listen"] = server.Addr()
	p.Addresses["http.url"] = "http://" + server.Addr()
	if config.TLS != nil {
		p.Addresses["http.url"] = "https://" + server.Addr()
	}
	return p.register(ctx, im.Server{ID: id, Role: "http", Address: server.Addr()}, nil)
}

func (p *process) httpConfig() (http.Config, error) {
	c := p.config
	key := string(c.HTTP.ServiceKey)
	if key == "" && c.Embedded() {
		var err error
		if key, err = secret(c.DataDir, "service.key"); err != nil {
			return http.Config{}, fmt.Errorf("http.service_key: %w", err)
		}
	}
	// Refresh tokens are signed by a key of their own, derived from the secret that
	// access tokens are signed by.
	refresh := sha256.Sum256([]byte("im refresh tokens\x00" + p.secret))
	proxies := make([]netip.Prefix, 0, len(c.HTTP.TrustedProxies))
	for _, text := range c.HTTP.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return http.Config{}, fmt.Errorf("http.trusted_proxies: %w", err)
		}
		proxies = append(proxies, prefix)
	}
	certificate, stop, err := listenerTLS(c.HTTP.TLS, "http", p.log)
	if err != nil {
		return http.Config{}, err
	}
	p.started("certificates of http", stop)
	return http.Config{
		Listen: c.HTTP.Listen, TLS: certificate, Version: p.options.Version,
		RefreshSecret: refresh[:], AccessTTL: c.Auth.AccessTokenTTL, RefreshTTL: c.Auth.RefreshTokenTTL,
		Now: p.now, ServiceKey: key, CORSOrigins: c.HTTP.CORSOrigins, Proxies: proxies,
		LoginsPerName:    http.Rate{Burst: c.Auth.LoginsPerName, Every: c.Auth.LoginsPerNameEvery},
		LoginsPerAddress: http.Rate{Burst: c.Auth.LoginsPerAddress, Every: c.Auth.LoginsPerAddressEvery},

		RegistrationsPerAddress: http.Rate{Burst: c.Auth.RegistrationsPerAddress, Every: c.Auth.RegistrationsPerAddressEvery},
	}, nil
}
