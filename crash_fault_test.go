//go:build fault

package im

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// dyingVariable makes this test binary reach places.
const dyingVariable = "IM_TEST_DYING"

func TestAProcessDiesWhereItWasTold(t *testing.T) {
	if os.Getenv(dyingVariable) != "" {
		for range 3 {
			CrashPoint(CrashAccepted)
			CrashPoint(CrashInserted)
		}
		return
	}
	for order, where := range map[string]string{
		"": "", "inserted": "dying at inserted", "inserted:3": "dying at inserted", "inserted:4": "",
		"accepted:2": "dying at accepted",
	} {
		dying := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		dying.Env = append(os.Environ(), dyingVariable+"=1", CrashVariable+"="+order)
		output, err := dying.CombinedOutput()
		var exit *exec.ExitError
		if died := errors.As(err, &exit) && exit.String() == "signal: killed"; died != (where != "") || !strings.Contains(string(output), where) {
			t.Errorf("%q: it ended with %v: %s", order, err, output)
		}
	}
}

func TestAnOrderThatMeansNothing(t *testing.T) {
	for _, order := range []string{"insertet", "inserted:0", "inserted:x", "inserted:", ":1"} {
		if _, err := parseCrash(order); err == nil {
			t.Errorf("%q is taken", order)
		}
	}
}
