package local_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/im-transfer/im/deploy/local"
)

// What is on a disk of its own can be written until there is no room, is kept, and
// can be written again when there is.
func TestADiskThatIsFull(t *testing.T) {
	dir := t.TempDir()
	disk, err := local.MakeDisk(dir, 1<<20)
	if err != nil {
		if os.Getenv("IM_TEST_REQUIRE") == "all" && os.Getuid() == 0 {
			t.Fatal(err)
		}
		t.Skipf("%v (IM_TEST_REQUIRE=all makes this a failure for root)", err)
	}
	t.Cleanup(disk.Close)
	does := func(script string) string {
		t.Helper()
		line := disk.Enter("sh", "-c", "cd "+dir+" && "+script)
		text, err := exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput()
		if err != nil {
			return err.Error() + ": " + string(text)
		}
		return string(text)
	}
	if text := does("echo before > kept"); text != "" {
		t.Fatal(text)
	}

	if err := disk.Fill(t.Context()); err != nil {
		t.Fatal(err)
	}

	if text := does("head -c 65536 /dev/zero > more"); !strings.Contains(text, "No space left") {
		t.Errorf("on a full disk: %q", text)
	}
	if text := does("cat kept"); text != "before\n" {
		t.Errorf("it has kept %q", text)
	}
	if err := disk.Free(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := does("head -c 65536 /dev/zero > more && wc -c < more"); strings.TrimSpace(text) != "65536" {
		t.Errorf("with room again: %q", text)
	}
	if _, err := os.Stat(filepath.Join(dir, "kept")); !os.IsNotExist(err) {
		t.Errorf("who is not in it sees the disk: %v", err)
	}
}
