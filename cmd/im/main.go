// Command im is the instant-messaging server, its clients and its tools. Without
// a subcommand it runs every server in one process on the embedded drivers.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "im:", err)
		os.Exit(1)
	}
}

func newRootCommand() *cobra.Command {
	root := newAllCommand()
	root.Use, root.Short = "im", "An instant-messaging server whose guarantees you can check"
	root.Long = root.Short + ".\n\nWithout a subcommand it runs every server in one process, with its data under ./data."
	root.SilenceUsage, root.SilenceErrors = true, true
	root.AddCommand(newAllCommand(), newConfigCommand(), newChatCommand(), newBenchCommand(), newVersionCommand())
	return root
}
