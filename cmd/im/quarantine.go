package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/im-transfer/im/app"
)

// quarantined asks a running server about its quarantine.
type quarantined struct {
	admin string // base URL
}

func newQuarantineCommand() *cobra.Command {
	q := &quarantined{}
	command := &cobra.Command{
		Use: "quarantine", Short: "Look at what the servers could not decode, and deliver it after all",
		Long: "Look at what the servers could not decode, and deliver it after all.\n\n" +
			"It asks a running server that has the transfer role, at its admin listener. An item that a newer\n" +
			"program can decode is replayed by that; what it delivers is marked as late.",
	}
	command.PersistentFlags().StringVar(&q.admin, "admin", "http://127.0.0.1:8090",
		"base `URL` of the admin listener of im or, at port 8093 by default, of im transfer")
	var all bool
	replay := &cobra.Command{
		Use: "replay ID...", Short: "Give items back to the pipeline, oldest first",
		RunE: func(c *cobra.Command, ids []string) error { return q.replay(c.Context(), c.OutOrStdout(), ids, all) },
	}
	replay.Flags().BoolVar(&all, "all", false, "every item, instead of some by their ids")
	command.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the items, oldest first", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return q.list(c.Context(), c.OutOrStdout()) },
		},
		&cobra.Command{
			Use: "show ID", Short: "Show an item, its bytes, and whether it can be replayed", Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error { return q.show(c.Context(), c.OutOrStdout(), args[0]) },
		},
		replay,
	)
	return command
}

func (q *quarantined) list(ctx context.Context, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSINCE\tPARTITION\tBYTES\tREASON")
	err := q.each(ctx, func(item app.QuarantinedItem) error {
		_, err := fmt.Fprintf(table, "%d\t%s\t%s.%d\t%d\t%s\n", item.ID, since(item), item.Topic, item.Partition, item.Bytes, printable(item.Reason))
		return err
	})
	return errors.Join(err, table.Flush())
}

func since(item app.QuarantinedItem) string {
	return time.UnixMilli(item.AtMs).UTC().Format(time.RFC3339)
}

// each calls f for every item, page by page.
func (q *quarantined) each(ctx context.Context, f func(app.QuarantinedItem) error) error {
	query := url.Values{}
	for {
		var page app.QuarantinePage
		if err := q.call(ctx, http.MethodGet, "/quarantine?"+query.Encode(), &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			query.Set("after_ms", strconv.FormatInt(item.AtMs, 10))
			query.Set("after_id", strconv.FormatInt(item.ID, 10))
			if err := f(item); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
	}
}

func (q *quarantined) show(ctx context.Context, out io.Writer, id string) error {
	var item app.QuarantinedItem
	if err := q.call(ctx, http.MethodGet, "/quarantine/"+url.PathEscape(id), &item); err != nil {
		return err
	}
	can := "can be decoded now: im quarantine replay " + id
	if item.Broken != "" {
		can = "can still not be decoded: " + printable(item.Broken)
	}
	_, err := fmt.Fprintf(out, "%s.%d since %s\n%s\n%s\n\n%s", item.Topic, item.Partition, since(item), printable(item.Reason), can, hex.Dump(item.Body))
	return err
}

// replay goes on behind an item that fails, and says so at the end.
func (q *quarantined) replay(ctx context.Context, out io.Writer, ids []string, all bool) error {
	if all == (len(ids) > 0) {
		return errors.New("name the items, or give --all")
	}
	if all {
		err := q.each(ctx, func(item app.QuarantinedItem) error {
			ids = append(ids, strconv.FormatInt(item.ID, 10))
			return nil
		})
		if err != nil {
			return err
		}
	}
	var failed []error
	for _, id := range ids {
		if err := q.call(ctx, http.MethodPost, "/quarantine/"+url.PathEscape(id)+"/replay", &struct{}{}); err != nil {
			failed = append(failed, fmt.Errorf("replay %s: %w", id, err))
			continue
		}
		fmt.Fprintln(out, "replayed", id)
	}
	return errors.Join(failed...)
}

// call asks the server; what it refuses is an error in its words.
func (q *quarantined) call(ctx context.Context, method, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(q.admin, "/")+path, nil)
	if err != nil {
		return fmt.Errorf("--admin %s: %w", q.admin, err)
	}
	request.Header.Set(app.OperatorHeader, "im quarantine")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("is a server running there? %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return json.NewDecoder(response.Body).Decode(into)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusNotFound && strings.Contains(string(text), "404 page not found") {
		return errors.New("this server has no pipeline; ask one with the transfer role")
	}
	return errors.New(printable(strings.TrimSpace(string(text))))
}
