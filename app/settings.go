package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/http"
	"github.com/im-transfer/im/transfer"
)

// settings are those in force: the process's own configuration, and what the
// configuration centre says over those that may change. Who needs such a setting is
// told by follow, and keeps it where its hot path reads it without a lock.
type settings struct {
	log     *slog.Logger
	own     *configs.Config
	refused *prometheus.CounterVec

	mu         sync.Mutex // guards what follows; held while followers are told
	inForce    *configs.Config
	followers  []func(*configs.Config)
	complaints map[string]string // values refused, by name, so that each is logged once
}

func newSettings(own *configs.Config, metrics prometheus.Registerer, log *slog.Logger) *settings {
	s := &settings{
		log: log, own: own, inForce: own, complaints: map[string]string{},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_settings_refused_total",
			Help: "Values of the configuration centre that can not be put in force, by setting; unknown names together.",
		}, []string{"setting"}),
	}
	metrics.MustRegister(s.refused)
	return s
}

// startSettings puts what the configuration centre says in force, now and whenever
// it changes. It comes before the servers.
func (p *process) startSettings(context.Context) error {
	p.settings = newSettings(p.config, p.metrics, p.log)
	following, cancel := context.WithCancel(context.Background())
	feed, err := p.registry.Settings(following)
	if err != nil {
		cancel()
		return fmt.Errorf("read the configuration centre: %w", err)
	}
	p.settings.take(<-feed) // it is there at once
	var running sync.WaitGroup
	running.Go(func() {
		for centre := range feed {
			p.settings.take(centre)
		}
	})
	p.started("settings", func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
	if level := p.options.LogLevel; level != nil {
		p.settings.follow(func(c *configs.Config) { level.Set(c.Log.SlogLevel()) })
	}
	return nil
}

// follow tells f the settings in force: before it returns, and after every change,
// one call at a time.
func (s *settings) follow(f func(*configs.Config)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers = append(s.followers, f)
	f(s.inForce)
}

// take puts what the centre says in force. What it does not name is what the
// process's own configuration says; what it says wrongly stays as it is.
func (s *settings) take(centre map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.complaints, func(name, value string) bool {
		now, is := centre[name]
		return !is || now != value
	})
	next := s.own
	for _, name := range configs.Dynamic() {
		if value, is := centre[name]; is {
			next = s.with(next, name, value)
		}
	}
	for name, value := range centre {
		if _, err := s.own.With(name, value); errors.Is(err, configs.ErrNotDynamic) {
			s.complain("unknown", name, value, err)
		}
	}
	s.change(next, centre)
}

// with returns a configuration with a value, or if that can not be with the one in
// force.
func (s *settings) with(c *configs.Config, name, value string) *configs.Config {
	next, err := c.With(name, value)
	if err == nil {
		return next
	}
	s.complain(name, name, value, err)
	if next, err = c.With(name, s.inForce.Value(name)); err != nil {
		return c // can not be: that value has been judged
	}
	return next
}

// complain counts and logs a value, once for as long as it stands. That of a name which
// is no setting that can change is not logged: it may be a secret.
func (s *settings) complain(label, name, value string, err error) {
	if _, is := s.complaints[name]; is {
		return
	}
	s.complaints[name] = value
	s.refused.WithLabelValues(label).Inc()
	if label != name {
		value = "not shown"
	}
	s.log.Error("the configuration centre says what can not be; what is in force stays",
		"setting", name, "value", value, "in_force", s.inForce.Value(name), "error", err)
}

// change makes a configuration the one in force and tells the followers.
func (s *settings) change(next *configs.Config, centre map[string]string) {
	changed := false
	for _, name := range configs.Dynamic() {
		from, to := s.inForce.Value(name), next.Value(name)
		if from == to {
			continue
		}
		changed = true
		source := "configuration"
		if _, is := centre[name]; is {
			source = "centre"
		}
		s.log.Info("a setting has changed", "setting", name, "from", from, "to", to, "source", source)
	}
	if !changed {
		return
	}
	s.inForce = next
	for _, tell := range s.followers {
		tell(next)
	}
}

func transferPolicy(c *configs.Config) transfer.Policy {
	return transfer.Policy{
		SendsPerSecond: c.Limits.SendsPerSecond, SendBurst: c.Limits.SendBurst, RefuseSignals: !c.Features.Signals,
		RecallWithin: time.Duration(c.Limits.RecallSeconds) * time.Second,
	}
}

func httpPolicy(c *configs.Config) http.Policy {
	return http.Policy{RefuseRegistration: !c.Features.Registration, UserRooms: c.Features.UserRooms}
}
