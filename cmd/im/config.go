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
		newConfigCheckCommand(),
	)
	return command
}

func newConfigCheckCommand() *cobra.Command {
	var s settings
	command := &cobra.Command{
		Use: "check [FILE]", Short: "Judge a configuration file, or settings, without starting anything",
		Long: "Judge a configuration file, and settings given with --set, without starting anything.\n\n" +
			"The environment is not looked at: an address or a secret that it can give is not missed.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			what := "it"
			if len(args) > 0 {
				s.file, what = args[0], args[0]
			}
			overrides, err := s.overrides()
			if err != nil {
				return err
			}
			if err := configs.Check(s.file, overrides); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), what, "is good")
			return err
		},
	}
	s.setFlag(command)
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
