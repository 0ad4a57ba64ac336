package local

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// A folder that a cluster uses is refused at once, and who uses it is said.
func TestAFolderIsOfOneClusterAtATime(t *testing.T) {
	dir := t.TempDir()
	first, err := openPlan(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openPlan(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprint("in use by process ", os.Getpid(), ":")) {
		t.Errorf("a second one: %v", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openPlan(dir)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := again.close(); err != nil {
		t.Fatal(err)
	}
}
