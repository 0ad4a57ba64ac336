// Command im is the instant-messaging server, its clients and its tools. Without
// a subcommand it runs every server in one process on the embedded drivers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/im-transfer/im/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "im:", err)
		os.Exit(exitStatus(err))
	}
}

// exitStatus is 1 for every error that does not say another one.
func exitStatus(err error) int {
	if exit := (exitError{}); errors.As(err, &exit) {
		return exit.status
	}
	return 1
}

func newRootCommand() *cobra.Command {
	root := newServeCommand(app.All, "Run every server in one process")
	root.Use, root.Short = "im", "An instant-messaging server whose guarantees you can check"
	root.Long = root.Short + ".\n\nWithout a subcommand it runs every server in one process, with its data under ./data."
	root.Version = version()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SilenceUsage, root.SilenceErrors = true, true
	root.AddCommand(
		newServeCommand(app.All, "Run every server in one process"),
		newServeCommand(app.HTTP, "Run the http server: accounts, gateway API, messages and history over HTTP"),
		newServeCommand(app.WebSocket, "Run the websocket server: devices that connect by WebSocket"),
		newServeCommand(app.TCP, "Run the tcp server: devices that connect by TCP"),
		newServeCommand(app.Transfer, "Run the transfer server: the message pipeline"),
		newConfigCommand(), newChatCommand(), newBenchCommand(), newCheckCommand(), newSettingsCommand(),
		newReadyCommand(), newQuarantineCommand(), newVersionCommand())
	return root
}
