package main

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/configs"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

// withQuarantine starts a server, and returns its store and its admin listener.
func withQuarantine(t *testing.T) (transfer.Store, string) {
	t.Helper()
	set := map[string]string{"data_dir": t.TempDir()}
	for _, listener := range []string{"http", "websocket", "tcp", "admin"} {
		set[listener+".listen"] = "127.0.0.1:0"
	}
	config, err := configs.Load("", set)
	if err != nil {
		t.Fatal(err)
	}
	var store transfer.Store
	server, err := app.New(t.Context(), app.All, config, app.Options{WrapStore: func(s transfer.Store) transfer.Store {
		store = s
		return s
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return store, "http://" + server.Addresses["admin.listen"]
}

// An operator lists the quarantine, looks at an item, and replays what can be decoded
// by now; what can not stays.
func TestQuarantine(t *testing.T) {
	store, admin := withQuarantine(t)
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		c := newQuarantineCommand()
		c.SetArgs(append(args, "--admin", admin))
		c.SetOut(&out)
		c.SetErr(&out)
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}
	good, err := (&imv1.CommandPack{}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	items := []im.Quarantined{
		{Topic: transfer.TopicInbox, Partition: 1, Reason: "broken\x1b[2J", Body: []byte("\xffbroken"), AtMs: 1767225600000},
		{Topic: transfer.TopicConversation, Partition: 2, Reason: "mended", Body: good, AtMs: 1767225600001},
	}
	for _, item := range items {
		if err := store.Quarantine(t.Context(), item); err != nil {
			t.Fatal(err)
		}
	}
	id := func(i int) string { return strconv.FormatInt(items[i].ID(), 10) }
	says := func(what, text string, err error, wants ...string) {
		t.Helper()
		if err != nil {
			text += err.Error()
		}
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %q", what, want, text)
			}
		}
	}
	out, err := run("list")
	says("list", out, err, id(0), "inbox.1", "2026-01-01T00:00:00Z", id(1), "conversation.2")
	if strings.Index(out, id(0)) > strings.Index(out, id(1)) || strings.Contains(out, "\x1b") {
		t.Errorf("list: %q", out)
	}
	out, err = run("show", id(0))
	says("show", out, err, "can still not be decoded", "|.broken|")
	out, err = run("show", id(1))
	says("show", out, err, "can be decoded now")
	if out, err = run("replay", "--all"); err == nil {
		t.Errorf("replay of what is broken: %q", out)
	}
	says("replay", out, err, "replayed "+id(1), "replay "+id(0)+": ", "can still not be decoded")
	out, err = run("list")
	if says("list", out, err, id(0)); strings.Contains(out, id(1)) {
		t.Errorf("still in the list: %q", out)
	}
	out, err = run("replay", id(1))
	says("replay again", out, err, "no item "+id(1))
	out, err = run("replay")
	says("replay of nothing", out, err, "name the items")
}

// A page that an operator's browser shows must not be able to replay anything.
func TestTheAdminListenerRefusesOtherSites(t *testing.T) {
	_, admin := withQuarantine(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, admin+"/quarantine/1/replay", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", response.StatusCode)
	}
}
