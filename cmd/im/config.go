package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/im-transfer/im/configs"
)

func newConfigCommand() *cobra.Command {
	command := &cobra.Command{Use: "config", Short: "Show or check configuration files"}
	command.AddCommand(
		&cobra.Command{
			Use: "default", Short: "Print the default configuration, every setting commented", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				_, err := c.OutOrStdout().Write(configs.DefaultYAML())
				return err
			},
		},
		&cobra.Command{
			Use: "check FILE", Short: "Judge a configuration file without starting anything", Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				if err := configs.Check(args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintln(c.OutOrStdout(), args[0], "is good")
				return err
			},
		},
	)
	return command
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), version())
			return err
		},
	}
}

// version is what the Go toolchain noted when it built the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
