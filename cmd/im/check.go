package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/im-transfer/im/check/workload"
)

const checkLong = `Has many devices talk over a running system while they are being disturbed, and judges
what they saw: whether what was acknowledged was delivered once and in order to every
device. The devices break off between a send and its ack, send again with the same
client_msg_id, stay away, read slowly, move, forget what they had, mark as read, recall
and edit, get new tokens; all from one seed. At the end all of them come back and get
everything, and every inbox is read once more by HTTP.

What harms the system meanwhile is up to you: kill servers, cut links, fill disks. With
--local it starts a system of its own, and --faults harms that one: the seed says what
is done, to which part and for how long.

The exit status is the verdict: 0 every promise was kept, 1 at least one was broken, 2 it
could not be decided.`

const checkExample = `  im check --duration 1m --html report.html
  im check --server http://10.0.0.1:8080,http://10.0.0.2:8080 --service-key "$KEY" --rate 500
  im check --local embedded --faults kill --faults-every 5s --duration 10m
  im check --local cluster --faults all --users 50 --devices 3 --duration 1h
  im check --local cluster --brokers 3 --faults kill-leader --duration 10m
  im check --local cluster --faults all --seed 7 --plan`

// The exit status of a check that has no verdict.
const exitUndecided = 2

// exitError is an error with an exit status of its own.
type exitError struct {
	error
	status int
}

func (e exitError) Unwrap() error { return e.error }

// checkOptions are what the flags of im check say beside the workload.
type checkOptions struct {
	dataDir, jsonFile, htmlFile string
	local                       string
	brokers                     int
	faults                      faultOptions
}

func newCheckCommand() *cobra.Command {
	var config workload.Config
	var options checkOptions
	command := &cobra.Command{
		Use: "check", Short: "Prove or refute that a system keeps its promises", Long: checkLong, Example: checkExample,
		Args: func(c *cobra.Command, args []string) error { return undecided(cobra.NoArgs(c, args)) },
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("seed") {
				config.Seed = rand.Uint64()
			}
			return runCheck(c, config, options)
		},
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return undecided(err) })
	checkFlags(command, &config, &options)
	return command
}

func checkFlags(command *cobra.Command, config *workload.Config, options *checkOptions) {
	flags := command.Flags()
	flags.StringSliceVar(&config.Servers, "server", []string{defaultServer}, "base `URL` of an http server, or of several with commas between: who is away is passed over")
	flags.StringVar(&config.ServiceKey, "service-key", os.Getenv("IM_HTTP_SERVICE_KEY"), "service `key`; else that in the data directory")
	flags.StringVar(&options.dataDir, "data-dir", cmp.Or(os.Getenv("IM_DATA_DIR"), "./data"), "`directory` with a service.key")
	flags.IntVar(&config.Users, "users", 20, "how many users, made for the run")
	flags.IntVar(&config.Devices, "devices", 2, "devices of each user, to 6")
	flags.IntVar(&config.Groups, "groups", 0, "groups of up to 8 users, some of whom come and go; 0 is a fifth of the users, -1 none")
	flags.DurationVar(&config.Duration, "duration", 30*time.Second, "how long they talk")
	flags.Float64Var(&config.Rate, "rate", 100, "messages per second of all devices together")
	flags.DurationVar(&config.Mishaps, "mishaps", 3*time.Second, "mean time between the mishaps of one device")
	flags.StringVar(&config.Transport, "transport", workload.Mixed, "websocket, tcp or mixed")
	flags.Uint64Var(&config.Seed, "seed", 0, "of the devices' scripts; drawn if left out")
	flags.DurationVar(&config.Patience, "patience", 30*time.Second, "how long, without progress, to wait for what is outstanding at the end")
	flags.StringVar(&options.local, "local", "", "start a system: `embedded` (one process) or cluster (RabbitMQ, etcd, MongoDB, two of each server)")
	flags.IntVar(&options.brokers, "brokers", 1, "with --local cluster: of how many `nodes` RabbitMQ consists, 1 or 3")
	faultFlags(command, &options.faults)
	flags.StringVar(&options.jsonFile, "json", "", "write the report as JSON to a `file`, - for standard output instead of the table")
	flags.StringVar(&options.htmlFile, "html", "", "write the report as a page to a `file`")
}

// undecided gives an error the exit status of no verdict.
func undecided(err error) error {
	if err == nil {
		return nil
	}
	return exitError{err, exitUndecided}
}

// runCheck makes the run, on a system of its own if it is told to.
func runCheck(c *cobra.Command, config workload.Config, options checkOptions) (err error) {
	var system *localSystem
	if system, err = startLocal(c.Context(), c.ErrOrStderr(), options); err != nil {
		return undecided(err)
	}
	if system != nil {
		defer func() { err = errors.Join(err, undecided(system.end(c.ErrOrStderr(), err))) }()
		if options.faults.plan {
			return options.faults.writePlan(c.OutOrStdout(), system.faults, config.Seed, config.Duration)
		}
		config.Servers, config.ServiceKey, config.Inject = system.servers, system.serviceKey, options.faults.injector(system.faults, config.Seed)
	} else if config.ServiceKey, err = serviceKey(config.ServiceKey, options.dataDir); err != nil {
		return undecided(err)
	}
	report, err := workload.Run(c.Context(), config, checkProgress(c))
	if err != nil {
		return undecided(err)
	}
	if err := writeCheck(c.OutOrStdout(), report, options); err != nil {
		return undecided(err)
	}
	return outcomeError(report)
}

func checkProgress(c *cobra.Command) workload.Progress {
	return workload.Progress{
		Step:   func(text string) { c.PrintErrln(text) },
		Second: func(status workload.Status) { c.PrintErrln(status) },
		Fault: func(m workload.Mark) {
			c.PrintErrf("        %s %s, mended after %s\n", m.Kind, m.Target, m.Until.Sub(m.At).Round(time.Millisecond))
		},
	}
}

// outcomeError makes the error, and with it the exit status, of a report.
func outcomeError(report *workload.Report) error {
	switch report.Outcome() {
	case workload.Broken:
		return exitError{fmt.Errorf("check: promises were broken: %d violations", report.Verdict.Total()), 1}
	case workload.Undecided:
		return undecided(fmt.Errorf("check: no violation was seen, but not everything could be: %s", report.Undecided[0]))
	}
	return nil
}

func writeCheck(w io.Writer, report *workload.Report, options checkOptions) error {
	if options.htmlFile != "" {
		if err := writeTo(options.htmlFile, report.WriteHTML); err != nil {
			return err
		}
	}
	switch options.jsonFile {
	case "-":
		return report.WriteJSON(w)
	case "":
	default:
		if err := writeTo(options.jsonFile, report.WriteJSON); err != nil {
			return err
		}
	}
	return report.WriteText(w)
}
