package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/im-transfer/im/bench"
)

const benchLong = `Puts load on a server over the public protocol, measures it, and judges the run:
what was acknowledged must arrive once, in order, at every device. A broken promise
makes the exit status non-zero.

Modes:
  pairs    pairs of users, each sender with a window of messages outstanding
  rate     pairs of users, messages at fixed times; latency counts from those
           times, so a server that stalls pays for all that had to wait
  single   one sender
  groups   groups of users, some of the members of each write to all
  rooms    a room of 10,000, half of them on each transport, some of whom speak: as
           fast as their windows let them, or with --rate at fixed times
  idle     connections that do nothing; the server's memory for each, with --pid
           or --metrics
  catchup  messages to users who are away; how fast they get them when they return
  login    everybody connects at once
  storm    the server of idle devices is killed, or stopped: how fast all of them are
           back, how often they try, and whether a session was lost or doubled. With
           --local it does so itself; otherwise it waits for you to
  overload what the server takes, then --factor times that, then whether it takes as
           much as before; with --pid how much memory it needed

Users and tokens come from the service API, with --service-key or the key file in
the data directory. Without a key every user registers, which a server limits per
address: 30, and one more every 2 s, unless auth.registrations_per_address allows more.`

const benchExample = `  im bench pairs --pairs 100 --window 16 --duration 30s --warmup 5s
  im bench rate --rate 1000 --transport mixed --html rate.html
  im bench idle --connections 10000 --transport tcp --pid $(pgrep -x im)
  im bench catchup --messages 5000 --rounds 5`

// benchOutput says where the results of a run go besides standard output.
type benchOutput struct {
	dataDir, jsonFile, htmlFile string
	local, strike               string // a system to start, and how a storm's server ends
}

func newBenchCommand() *cobra.Command {
	var config bench.Config
	var output benchOutput
	command := &cobra.Command{
		Use: "bench [MODE]", Short: "Put load on a server, measure it and judge it", Long: benchLong, Example: benchExample,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			config.Mode = bench.Pairs
			if len(args) > 0 {
				config.Mode = bench.Mode(args[0])
			}
			return runBenchOn(c, config, output)
		},
	}
	for _, mode := range bench.Modes {
		command.ValidArgs = append(command.ValidArgs, string(mode))
	}
	benchFlags(command, &config, &output)
	return command
}

func benchFlags(command *cobra.Command, config *bench.Config, output *benchOutput) {
	flags := command.Flags()
	flags.StringVar(&config.Server, "server", "http://127.0.0.1:8080", "base `URL` of an http server, or of several with commas between: who is away is passed over")
	flags.StringVar(&config.ServiceKey, "service-key", os.Getenv("IM_HTTP_SERVICE_KEY"), "service `key`; else that in the data directory")
	flags.StringVar(&output.dataDir, "data-dir", cmp.Or(os.Getenv("IM_DATA_DIR"), "./data"), "`directory` with a service.key")
	flags.StringSliceVar(&config.Gateways, "gateway", nil, "ws:// and tcp:// `URLs` to connect to, instead of asking the server")
	flags.StringVar(&config.Transport, "transport", "", "websocket, tcp or mixed (websocket; rooms mixed)")
	flags.StringVar(&config.Form, "form", bench.Protobuf, "protobuf, json or text (text over tcp is json)")
	flags.IntVar(&config.Size, "size", 128, "`bytes` of a message's text, from 64")
	flags.DurationVar(&config.Duration, "duration", 10*time.Second, "measured time; idle: how long connections are held")
	flags.DurationVar(&config.Warmup, "warmup", 2*time.Second, "load before the measured time")
	flags.IntVar(&config.Window, "window", 0, "unacknowledged messages of a sender, to 256 (16; single and catchup 64)")
	flags.IntVar(&config.Pairs, "pairs", 0, "pairs of users (100; single and catchup 1)")
	flags.IntVar(&config.Groups, "groups", 1, "how many groups")
	flags.IntVar(&config.Members, "members", 0, "members of each group, to 500 (200), or of the room (10000)")
	flags.IntVar(&config.Senders, "senders", 0, "members of each group (10), or of the room (4), who write to it")
	flags.IntVar(&config.Devices, "devices", 1, "devices of each user, to 6")
	flags.Float64Var(&config.Rate, "rate", 0, "rate: messages per second of all senders together (1000); rooms: the same, instead of a window")
	flags.Float64Var(&config.Factor, "factor", 10, "overload: how many times what the server takes is offered")
	flags.IntVar(&config.Connect, "connections", 0, "idle, storm: how many (10000); login (1000)")
	flags.IntVar(&config.Messages, "messages", 0, "catchup: for each absent user (5000); pairs, single: of each sender, then the run ends")
	flags.IntVar(&config.Rounds, "rounds", 1, "catchup, login: how often")
	flags.IntVar(&config.Parallel, "parallel", 64, "connections being made at once")
	flags.BoolVar(&config.NoAfter, "no-after", false, "do not name a message's unacknowledged predecessor")
	flags.IntVar(&config.Sources, "sources", 0, "loopback addresses to connect from; 0 = as many as the connections need")
	flags.StringVar(&config.Prefix, "prefix", "", "of user names, to use the same users again (new ones for every run)")
	flags.IntSliceVar(&config.PIDs, "pid", nil, "the server's process on this machine, or several with commas between: memory and CPU time")
	flags.StringVar(&config.Metrics, "metrics", "", "`URL` of the server's metrics, for its memory")
	flags.DurationVar(&config.Settle, "settle", 0, "how long to wait for what is outstanding at the end (30s; overload 2m, storm 5m)")
	flags.StringVar(&output.local, "local", "", "start a system for the run: `embedded` (one process) or cluster (RabbitMQ, etcd, MongoDB, two of each server)")
	flags.StringVar(&output.strike, "strike", strikeKill, "storm with --local: how the server ends, kill (-9) or stop (SIGTERM)")
	flags.StringVar(&output.jsonFile, "json", "", "write the report as JSON to a `file`, - for standard output instead of the table")
	flags.StringVar(&output.htmlFile, "html", "", "write the report as a page with plots to a `file`")
}

// serviceKey returns the key that was given, or the one in a data directory; none
// where there is no such file.
func serviceKey(given, dataDir string) (string, error) {
	if given != "" {
		return given, nil
	}
	key, err := os.ReadFile(filepath.Join(dataDir, "service.key"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the service key: %w", err)
	}
	return strings.TrimSpace(string(key)), nil
}

// runBenchOn runs on the server that is given, or on a system of its own.
func runBenchOn(c *cobra.Command, config bench.Config, output benchOutput) (err error) {
	system, err := startBench(c.Context(), c.ErrOrStderr(), output, &config)
	switch {
	case err != nil:
		return err
	case system != nil:
		defer func() { err = errors.Join(err, system.end(c.ErrOrStderr(), err)) }()
	default:
		if config.ServiceKey, err = serviceKey(config.ServiceKey, output.dataDir); err != nil {
			return err
		}
	}
	return runBench(c, config, output)
}

func runBench(c *cobra.Command, config bench.Config, output benchOutput) error {
	progress := bench.Progress{
		Step:   func(text string) { c.PrintErrln(text) },
		Second: func(second bench.Second) { c.PrintErrln(second) },
	}
	report, err := bench.Run(c.Context(), config, progress)
	if report == nil {
		return err
	}
	if writeErr := writeBench(c.OutOrStdout(), report, output); writeErr != nil {
		return errors.Join(err, writeErr)
	}
	if err == nil && !report.Verdict.OK() {
		err = fmt.Errorf("bench: the server broke its promises: %d violations", report.Verdict.Total())
	}
	return err
}

func writeBench(w io.Writer, report *bench.Report, output benchOutput) error {
	if output.htmlFile != "" {
		if err := writeTo(output.htmlFile, report.WriteHTML); err != nil {
			return err
		}
	}
	switch output.jsonFile {
	case "-":
		return report.WriteJSON(w)
	case "":
	default:
		if err := writeTo(output.jsonFile, report.WriteJSON); err != nil {
			return err
		}
	}
	return report.WriteText(w)
}

func writeTo(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
