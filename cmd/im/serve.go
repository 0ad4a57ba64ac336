package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/configs"
)

// settings are the flags by which every server is configured.
type settings struct {
	file string
	set  []string
}

func (s *settings) flags(c *cobra.Command) {
	c.Flags().StringVarP(&s.file, "config", "c", "", "configuration `file` (YAML); see im config default")
	s.setFlag(c)
}

func (s *settings) setFlag(c *cobra.Command) {
	c.Flags().StringArrayVarP(&s.set, "set", "s", nil, "`name=value` of a setting, over the file and the environment; may be given more than once")
}

// load reads the settings, with configs.Load or one of its like.
func (s *settings) load(read func(string, map[string]string) (*configs.Config, error)) (*configs.Config, error) {
	overrides, err := s.overrides()
	if err != nil {
		return nil, err
	}
	return read(s.file, overrides)
}

// overrides returns the values of --set by their names.
func (s *settings) overrides() (map[string]string, error) {
	overrides := make(map[string]string, len(s.set))
	for _, pair := range s.set {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("--set %s: want name=value", pair)
		}
		overrides[name] = value
	}
	return overrides, nil
}

// newServeCommand runs one role, or app.All of them, until a signal.
func newServeCommand(role, short string) *cobra.Command {
	var s settings
	command := &cobra.Command{
		Use: role, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := s.load(configs.Load)
			if err != nil {
				return err
			}
			level := new(slog.LevelVar)
			log := newLogger(c.ErrOrStderr(), config.Log, level)
			for _, name := range configs.Unknown(os.Environ()) {
				log.Warn("the environment has a variable that looks like a setting and is none", "variable", name)
			}
			servers, err := app.New(c.Context(), role, config, app.Options{Version: version(), Log: log, LogLevel: level})
			if err != nil {
				return err
			}
			return serve(c.Context(), servers, config.Shutdown.Timeout, log, func() {
				if role == app.All {
					greet(c.OutOrStdout(), servers)
				} else {
					log.Info("ready", "role", role, "admin", servers.Addresses["admin.listen"])
				}
			})
		},
	}
	s.flags(command)
	return command
}

// serve says when the servers are ready, waits for a signal or a failure, and stops.
func serve(ctx context.Context, servers *app.App, timeout time.Duration, log *slog.Logger, ready func()) error {
	var failure error
	waiting, end := context.WithCancel(ctx)
	said := make(chan struct{})
	go func() {
		defer close(said)
		if servers.AwaitReady(waiting) == nil {
			ready()
		}
	}()
	select {
	case <-ctx.Done():
		log.Info("stopping; a second signal ends the process at once")
	case failure = <-servers.Failed():
		log.Error("a part of the server has failed; stopping", "error", failure)
	}
	end()
	<-said
	bounded, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return errors.Join(failure, servers.Stop(bounded))
}

// greet says where everything is, and what to do next.
func greet(w io.Writer, servers *app.App) {
	a := servers.Addresses
	kept := "the data stays in " + a["data_dir"]
	if a["data_dir"] == "" {
		kept = "the data stays in the store"
	}
	chat := "go run ./cmd/im chat"
	if a["http.url"] != defaultServer {
		chat += " --server " + a["http.url"]
	}
	fmt.Fprintf(w, `im is running.

  http       %s   (API docs at /docs)
  websocket  %s
  tcp        %s
  admin      http://%s   (/healthz, /readyz, /metrics)

Talk to yourself, in two other terminals (--register makes the accounts, once):

  %[5]s --user alice --password correct-horse --register
  %[5]s --user bob --password correct-horse --register --to alice

Ctrl-C stops it; %[6]s.
`, a["http.url"], a["websocket.url"], a["tcp.url"], a["admin.listen"], chat, kept)
}

// newLogger returns a log whose level may change.
func newLogger(w io.Writer, config configs.Log, level *slog.LevelVar) *slog.Logger {
	level.Set(config.SlogLevel())
	options := &slog.HandlerOptions{Level: level}
	if config.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
