package configs_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/im-transfer/im/configs"
)

// Each dynamic setting can be read as text and put back, and changed to another
// value without the former configuration being touched.
func TestDynamicSettings(t *testing.T) {
	others := map[string]string{
		"features.registration": "false", "features.signals": "false", "features.user_rooms": "true", "limits.send_burst": "7",
		"limits.recall_seconds": "60", "limits.sends_per_second": "2.5", "log.level": "debug", "tracing.sample_rate": "1",
	}
	if !slices.IsSorted(configs.Dynamic()) || len(configs.Dynamic()) != len(others) {
		t.Fatalf("dynamic are %v", configs.Dynamic())
	}
	c := load(t, "", nil)
	for _, name := range configs.Dynamic() {
		before := c.Value(name)
		same, err := c.With(name, before)
		if err != nil || same.Value(name) != before {
			t.Errorf("%s: %q put back: %v", name, before, err)
		}
		next, err := c.With(name, others[name]+"\n")
		if err != nil || next.Value(name) != others[name] || c.Value(name) != before || before == others[name] {
			t.Errorf("%s: from %q to %q: %v", name, before, others[name], err)
		}
		if text := string(configs.DefaultYAML()); !strings.Contains(text, name[strings.Index(name, ".")+1:]+": "+before+"\n") {
			t.Errorf("%s: %q is not what im.yaml says", name, before)
		}
	}
}

// The rules are those of a file.
func TestDynamicValuesAreJudged(t *testing.T) {
	c := load(t, "", nil)
	for _, bad := range []struct{ name, value, says string }{
		{"log.level", "loud", "log.level: must be debug or info"},
		{"log.level", "", "log.level: must be"},
		{"limits.sends_per_second", "many", `limits.sends_per_second: "many" is no number`},
		{"limits.sends_per_second", "-1", "limits.sends_per_second: must be 0 to 1000000"},
		{"limits.send_burst", "1.5", `limits.send_burst: "1.5" is no whole number`},
		{"limits.send_burst", "-1", "limits.send_burst: must be 0 to"},
		{"tracing.sample_rate", "NaN", "tracing.sample_rate: must be 0 to 1"},
		{"tracing.sample_rate", "1.1", "tracing.sample_rate: must be 0 to 1"},
		{"features.signals", "off", `features.signals: "off" is no true or false`},
		{"http.listen", "127.0.0.1:1", "http.listen: not a setting that can change"},
		{"nonsense", "1", "nonsense: not a setting"},
	} {
		next, err := c.With(bad.name, bad.value)
		if err == nil || !strings.HasPrefix(err.Error(), bad.says) || next != nil {
			t.Errorf("%s %q: %v", bad.name, bad.value, err)
		}
	}
	if _, err := c.With("nonsense", ""); !errors.Is(err, configs.ErrNotDynamic) {
		t.Errorf("the error is %v", err)
	}
	if got := c.Value("nonsense"); got != "" {
		t.Errorf("nonsense is %q", got)
	}
}
