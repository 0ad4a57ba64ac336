package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/im-transfer/im/configs"
)

// readyTimeout bounds the question; whoever looks after the server asks again.
const readyTimeout = 2 * time.Second

// newReadyCommand is the health check of a container, which has no other program.
func newReadyCommand() *cobra.Command {
	var s settings
	command := &cobra.Command{
		Use: "ready [ROLE]", Short: "Ask the server that runs here with the same settings whether it is ready",
		Long: "Asks /readyz of the operators' listener (admin.listen) of the server that runs on this machine\n" +
			"with the same settings. The exit status is 0 when it is ready.",
		Args: cobra.MaximumNArgs(1), ValidArgs: []string{"all", "http", "websocket", "tcp", "transfer"},
		RunE: func(c *cobra.Command, args []string) error {
			config, err := s.load(configs.LoadAdmin)
			if err != nil {
				return err
			}
			role := "all"
			if len(args) > 0 {
				role = args[0]
			}
			return isReady(c.Context(), config.AdminListen(role))
		},
	}
	s.flags(command)
	return command
}

// isReady asks the listener at an address, on the loopback where that is any.
func isReady(ctx context.Context, listen string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New("not ready: " + strings.TrimSpace(string(text)))
	}
	if err != nil {
		return fmt.Errorf("ask %s: %w", listen, err)
	}
	return nil
}
