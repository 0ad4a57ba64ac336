package workload

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/configs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustRun(t *testing.T, config Config) *Report {
	t.Helper()
	report, err := Run(t.Context(), config, Progress{Step: func(text string) { t.Log(text) }})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func told(t *testing.T, report *Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := report.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestEveryBrokenPromiseIsFound(t *testing.T) {
	for breach, kinds := range map[breach][]check.Kind{
		loses: {check.Loss}, doubles: {check.Duplicate}, reorders: {check.Order}, skips: {check.Gap}, swaps: {check.Changed},
		alters: {check.Phantom}, storesAnew: {check.Identity, check.Duplicate}, renumbers: {check.Identity}, lowersAck: {check.Cursor},
		jumps: {check.Cursor}, lowersRead: {check.ReadMark}, boasts: {check.Receipt}, denies: {check.Refused}, ignores: {check.Unanswered}, hides: {check.Loss},
		forgets: {check.Alter}, conceals: {check.Loss}, repeats: {check.Phantom}, revives: {check.Phantom}, miswrites: {check.Alter},
		pretends: {check.Refused}, keeps: {check.Alter}, blurts: {check.Phantom},
		leaks: {check.Phantom}, silences: {check.Membership}, excludes: {check.Loss},
	} {
		t.Run(string(breach), func(t *testing.T) {
			t.Parallel()
			report := mustRun(t, newFake(t, breach).config())
			if report.Outcome() != Broken {
				t.Fatalf("a server that %s is acquitted:\n%s", breach, told(t, report))
			}
			for _, kind := range kinds {
				if report.Verdict.Totals[kind] == 0 {
					t.Errorf("not convicted of %s:\n%s", kind, told(t, report))
				}
			}
		})
	}
}

func TestAnHonestServerIsAcquitted(t *testing.T) {
	t.Parallel()
	config := newFake(t, nothing).config()
	config.Duration, config.Mishaps = 2*time.Second, 150*time.Millisecond
	report := mustRun(t, config)
	if report.Outcome() != Kept {
		t.Fatal(told(t, report))
	}
	if report.Verdict.Sent < 150 || report.Verdict.Acknowledged != report.Verdict.Sent || report.Attempts <= report.Verdict.Sent {
		t.Errorf("too little happened:\n%s", told(t, report))
	}
	for _, m := range mishaps {
		if report.Actions[m.do] == 0 {
			t.Errorf("nobody had to %q", m.do)
		}
	}
	if report.Actions[change] == 0 {
		t.Error("no group was changed")
	}
	if report.Verdict.Altered == 0 {
		t.Error("no message was recalled or edited")
	}
}

func TestWhatCouldNotBeSeenIsUndecided(t *testing.T) {
	t.Parallel()
	report := mustRun(t, newFake(t, closes).config())
	if report.Outcome() != Undecided || !strings.Contains(told(t, report), "could not connect at the end") {
		t.Fatal(told(t, report))
	}
	config := newFake(t, nothing).config()
	config.Rate, config.Mishaps = 1e-9, time.Hour
	if report := mustRun(t, config); report.Outcome() != Undecided {
		t.Fatalf("a verdict on nothing:\n%s", told(t, report))
	}
}

func TestARunThatCanNotBeIsAnError(t *testing.T) {
	t.Parallel()
	fake := newFake(t, nothing)
	broken := errors.New("the injector broke")
	for want, change := range map[string]func(*Config){
		"no server is given":      func(c *Config) { c.Servers = nil },
		"a service key is needed": func(c *Config) { c.ServiceKey = "" },
		"7 devices":               func(c *Config) { c.Devices = 7 },
		"-1 users":                func(c *Config) { c.Users = -1 },
		`transport is "udp"`:      func(c *Config) { c.Transport = "udp" },
		"below zero":              func(c *Config) { c.Patience = -1 },
		"make users":              func(c *Config) { c.Servers = []string{"http://127.0.0.1:1"} },
		"the injector broke": func(c *Config) {
			c.Inject = func(context.Context, <-chan struct{}, chan<- Mark) error { return broken }
		},
		"only 0 of 8 devices": func(c *Config) {
			fake.shutDown(true)
			c.Patience = 200 * time.Millisecond
		},
	} {
		config := fake.config()
		change(&config)
		report, err := Run(t.Context(), config, Progress{})
		fake.shutDown(false)
		if err == nil || report != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	config := fake.config()
	config.Inject = func(ctx context.Context, over <-chan struct{}, _ chan<- Mark) error {
		cancel()
		<-ctx.Done()
		<-over
		return nil
	}
	if _, err := Run(ctx, config, Progress{}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended from outside: %v", err)
	}
}

func (f *fake) shutDown(shut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut = shut
}

func TestScriptsAreMadeFromTheSeed(t *testing.T) {
	config := Config{Seed: 7}.withDefaults()
	other := config
	other.Seed = 8
	for device := range 6 {
		script := config.script(device)
		if !reflect.DeepEqual(script, config.script(device)) {
			t.Fatalf("device %d has two scripts of one seed", device)
		}
		if reflect.DeepEqual(script, other.script(device)) {
			t.Errorf("device %d has the same script of another seed", device)
		}
		number := uint32(0)
		for i, s := range script {
			if i > 0 && s.at < script[i-1].at || s.at >= config.Duration {
				t.Fatalf("step %d at %s", i, s.at)
			}
			if s.number != 0 {
				if number++; s.number != number || s.size < smallestText {
					t.Fatalf("step %d sends #%d of %d bytes", i, s.number, s.size)
				}
			}
		}
	}
	if !slices.Equal(config.contacts(3), config.contacts(3)) || config.contacts(3)[0] != 3 {
		t.Error("contacts")
	}
}

func TestGroupsAreMadeFromTheSeed(t *testing.T) {
	for users := 3; users < 30; users++ {
		config := Config{Seed: 7, Users: users}.withDefaults()
		for group := range config.Groups {
			of := config.circle(group)
			all := slices.Concat(of.members, of.guests)
			slices.Sort(all)
			if len(of.members) < 2 || len(of.guests) < 1 || len(slices.Compact(all)) != min(users, mostCircle) {
				t.Fatalf("%d users: %+v", users, of)
			}
			for _, member := range of.members {
				if !slices.Contains(config.memberships(member), group) {
					t.Errorf("%d is in group %d and does not know it", member, group)
				}
			}
		}
	}
	if config := (Config{Users: 2}.withDefaults()); config.Groups != 0 {
		t.Errorf("%d groups of two users", config.Groups)
	}
}

// Two runs of one seed send the same messages to the same conversations.
func TestARunCanBeMadeAgain(t *testing.T) {
	t.Parallel()
	sent := func() int {
		report := mustRun(t, newFake(t, nothing).config())
		if report.Outcome() != Kept {
			t.Fatal(told(t, report))
		}
		return report.Verdict.Sent
	}
	if first, second := sent(), sent(); first != second {
		t.Fatalf("%d messages, then %d", first, second)
	}
}

func TestTexts(t *testing.T) {
	for _, size := range []int{smallestText, 100, 5000} {
		key := check.Key{Device: 12, Number: 345}
		text := textOf("0123abcd", key, size)
		if len(text) != size || keyOf("0123abcd", text) != key || keyOf("another", text) != (check.Key{}) {
			t.Errorf("%d bytes: %q", size, text)
		}
	}
	for _, text := range []string{"", "im-check", "im-check 0123abcd x 1 ", "im-check 0123abcd 1 99999999999 ", "hello im-check 1 1 1"} {
		if key := keyOf("0123abcd", text); key != (check.Key{}) {
			t.Errorf("%q is %v", text, key)
		}
	}
}

func TestTheEmbeddedServerKeepsItsPromises(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"data_dir": t.TempDir()}
	for _, name := range []string{"http.listen", "websocket.listen", "tcp.listen", "transfer.listen", "admin.listen"} {
		settings[name] = "127.0.0.1:0"
	}
	config, err := configs.Load("", settings)
	if err != nil {
		t.Fatal(err)
	}
	server, err := app.New(t.Context(), app.All, config, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop(context.WithoutCancel(t.Context())) //nolint:errcheck // it may be cut short
	key, err := os.ReadFile(filepath.Join(settings["data_dir"], "service.key"))
	if err != nil {
		t.Fatal(err)
	}
	report := mustRun(t, Config{
		Servers: []string{server.Addresses["http.url"]}, ServiceKey: strings.TrimSpace(string(key)), Users: 6, Devices: 3,
		Duration: 4 * time.Second, Rate: 100, Mishaps: time.Second, Seed: 1,
	})
	t.Log(told(t, report))
	if report.Outcome() != Kept || report.Verdict.Acknowledged != report.Verdict.Sent {
		t.Fail()
	}
	if len(report.Sessions) != 5 {
		t.Errorf("not every transport and form was used: %v", report.Sessions)
	}
}
