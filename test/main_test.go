// Package test holds the stories that need a whole server: everything here goes
// through public surfaces, over real sockets. Where a story needs a server that
// can be killed, the test binary runs itself again as that server.
package test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/transfer"
)

// processVariable makes the test binary a server: its value is a processOrder.
const processVariable = "IM_TEST_SERVER"

// processOrder tells a server process what to be.
type processOrder struct {
	Settings map[string]string `json:"settings"`
	Crash    string            `json:"crash"` // see crashStore; empty = it lives on
}

func TestMain(m *testing.M) {
	order := os.Getenv(processVariable)
	if order == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := beServer(order); err != nil {
		panic(err)
	}
}

// beServer is the server process. It stops, as im does, on SIGTERM, and when
// whoever started it has gone.
func beServer(text string) error {
	var order processOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // its end is what counts
		stop()
	}()
	config, err := configs.Load("", order.Settings)
	if err != nil {
		return err
	}
	options := app.Options{Version: "test", Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	if order.Crash != "" {
		point, err := parseCrash(order.Crash)
		if err != nil {
			return err
		}
		options.WrapStore = func(store transfer.Store) transfer.Store { return &crashStore{Store: store, point: point, die: dieNow} }
	}
	servers, err := app.New(ctx, app.All, config, options)
	if err != nil {
		return err
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-servers.Failed():
	}
	bounded, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(failure, servers.Stop(bounded))
}

// dieNow is kill -9 from within: nothing of the process runs after it.
func dieNow() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // it does not return
	select {}
}
