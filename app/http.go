package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/argon2"
	"github.com/im-transfer/im/http"
	"github.com/im-transfer/im/session"
)

// startHTTP starts the http server. It reaches the pipeline over a link of its own,
// as a gateway does.
func (a *all) startHTTP(ctx context.Context) error {
	link, id, err := a.link("http")
	if err != nil {
		return err
	}
	config, err := a.httpConfig()
	if err != nil {
		return err
	}
	passwords, err := argon2.New(argon2.Params{})
	if err != nil {
		return fmt.Errorf("password hashing: %w", err)
	}
	server, err := http.New(config, http.Services{
		Accounts: a.store, Devices: a.store, Histories: a.store,
		Pipeline: session.NewCaller(link), Discovery: a.registry, Tokens: a.tokens, Passwords: passwords,
	}, a.log.With("server", "http"))
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return err
	}
	a.started("http", func(ctx context.Context) error {
		patient, cancel := context.WithTimeout(ctx, drainPatience) // the pipeline after it needs time too
		defer cancel()
		return server.Stop(patient)
	})
	a.watch("http", server.Failed())
	a.Addresses["http.listen"] = server.Addr()
	a.Addresses["http.url"] = "http://" + server.Addr()
	if config.TLS != nil {
		a.Addresses["http.url"] = "https://" + server.Addr()
	}
	return a.register(ctx, im.Server{ID: id, Role: "http", Address: server.Addr()})
}

func (a *all) httpConfig() (http.Config, error) {
	c := a.config
	key := string(c.HTTP.ServiceKey)
	if key == "" {
		var err error
		if key, err = secret(c.DataDir, "service.key"); err != nil {
			return http.Config{}, fmt.Errorf("http.service_key: %w", err)
		}
	}
	// Refresh tokens are signed by a key of their own, derived from the secret that
	// access tokens are signed by.
	refresh := sha256.Sum256([]byte("im refresh tokens\x00" + a.secret))
	proxies := make([]netip.Prefix, 0, len(c.HTTP.TrustedProxies))
	for _, text := range c.HTTP.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return http.Config{}, fmt.Errorf("http.trusted_proxies: %w", err)
		}
		proxies = append(proxies, prefix)
	}
	certificate, err := loadTLS(c.HTTP.TLS, "http")
	if err != nil {
		return http.Config{}, err
	}
	return http.Config{
		Listen: c.HTTP.Listen, TLS: certificate, Version: a.options.Version,
		RefreshSecret: refresh[:], AccessTTL: c.Auth.AccessTokenTTL, RefreshTTL: c.Auth.RefreshTokenTTL,
		ServiceKey: key, CORSOrigins: c.HTTP.CORSOrigins, Proxies: proxies,
		LoginsPerName:    http.Rate{Burst: c.Auth.LoginsPerName, Every: c.Auth.LoginsPerNameEvery},
		LoginsPerAddress: http.Rate{Burst: c.Auth.LoginsPerAddress, Every: c.Auth.LoginsPerAddressEvery},

		RegistrationsPerAddress: http.Rate{Burst: c.Auth.RegistrationsPerAddress, Every: c.Auth.RegistrationsPerAddressEvery},
	}, nil
}
