package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/im-transfer/im/app"
)

func TestSettingsAreShown(t *testing.T) {
	var out bytes.Buffer
	err := printSettings(&out, []app.Setting{
		{Name: "limits.send_burst", Own: "0", InForce: "0"},
		{Name: "log.level", Own: "info", Centre: "debug", IsSet: true, InForce: "debug"},
		{Name: "nonsense", Centre: "x\n", IsSet: true, Problem: errors.New("nonsense: no such setting")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `SETTING             CONFIGURATION   CENTRE    IN FORCE
limits.send_burst   0               -         0
log.level           info            "debug"   debug
nonsense            -               "x\n"     not the centre's: nonsense: no such setting
`
	if out.String() != want {
		t.Errorf("shown:\n%s\nwant:\n%s", &out, want)
	}
}

// Without a cluster there is nothing to change; wrong usage is told before anything
// is opened.
func TestSettingsNeedACluster(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"settings list", "registry.driver: "},
		{"settings set log.level debug", "registry.driver: "},
		{"settings set log.level", "accepts 2 arg(s)"},
		{"settings unset", "accepts 1 arg(s)"},
	} {
		command := newRootCommand()
		command.SetArgs(strings.Fields(c.args))
		if err := command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("im %s: %v", c.args, err)
		}
	}
}
