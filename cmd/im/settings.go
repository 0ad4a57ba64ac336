package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/configs"
)

// newSettingsCommand shows and changes what the servers of a cluster follow while
// they run.
func newSettingsCommand() *cobra.Command {
	var s settings
	command := &cobra.Command{
		Use: "settings", Short: "Show or change the settings of a running cluster",
		Long: "Show or change the settings of a running cluster.\n\n" +
			"They are kept in the registry, whose address is taken from the configuration: give the one of the servers.\n" +
			"A value is judged before it is written. All servers put it in force at once.",
	}
	command.AddCommand(
		&cobra.Command{
			Use: "list", Short: "Show every setting that can change, and which value is in force", Args: cobra.NoArgs,
			RunE: s.centre(func(c *cobra.Command, centre *app.Centre, _ []string) error {
				list, err := centre.List(c.Context())
				if err != nil {
					return err
				}
				return printSettings(c.OutOrStdout(), list)
			}),
		},
		&cobra.Command{
			Use: "set NAME VALUE", Short: "Change a setting for all servers", Args: cobra.ExactArgs(2),
			RunE: s.centre(func(c *cobra.Command, centre *app.Centre, args []string) error {
				return centre.Set(c.Context(), args[0], args[1])
			}),
		},
		&cobra.Command{
			Use: "unset NAME", Short: "Let a setting be again what the servers' own configuration says", Args: cobra.ExactArgs(1),
			RunE: s.centre(func(c *cobra.Command, centre *app.Centre, args []string) error {
				return centre.Unset(c.Context(), args[0])
			}),
		},
	)
	for _, sub := range command.Commands() {
		s.flags(sub)
	}
	return command
}

// centre runs a command with the configuration centre open.
func (s *settings) centre(run func(*cobra.Command, *app.Centre, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) (err error) {
		config, err := s.load(configs.LoadCentre)
		if err != nil {
			return err
		}
		centre, err := app.OpenCentre(c.Context(), config, newLogger(c.ErrOrStderr(), config.Log, new(slog.LevelVar)))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, centre.Close()) }()
		return run(c, centre, args)
	}
}

func printSettings(w io.Writer, list []app.Setting) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "SETTING\tCONFIGURATION\tCENTRE\tIN FORCE")
	for _, s := range list {
		centre, inForce := "-", s.InForce
		if s.IsSet {
			centre = fmt.Sprintf("%q", s.Centre)
		}
		if s.Problem != nil {
			inForce = "not the centre's: " + s.Problem.Error()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.Name, orDash(s.Own), centre, inForce)
	}
	return table.Flush()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
