package imv1_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// root is the repository's, as seen from here.
const root = "../../.."

// Whoever changes a .proto file commits what `make proto` makes of it.
func TestGenerationLeavesNoDiff(t *testing.T) {
	tool := func(args ...string) ([]byte, error) {
		command := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=tools/go.mod"}, args...)...)
		command.Dir = root
		return command.CombinedOutput()
	}
	for _, probe := range [][]string{{"buf", "--version"}, {"protoc-gen-go", "--version"}} {
		if out, err := tool(probe...); err != nil {
			missing(t, "%s of tools/go.mod can not be built: %v\n%s", probe[0], err, out)
		}
	}
	watch(t, "*.proto", root+"/buf*.yaml", root+"/tools/go.mod")
	dir := t.TempDir()
	if out, err := tool("buf", "generate", "-o", dir); err != nil {
		t.Fatalf("buf generate: %v\n%s", err, out)
	}

	committed := generated(t, ".")
	fresh := generated(t, filepath.Join(dir, "proto/im/v1"))
	if len(fresh) == 0 {
		t.Fatal("buf generate made nothing")
	}
	for name, text := range fresh {
		if !bytes.Equal(text, committed[name]) {
			t.Errorf("%s is not what its .proto gives: run `make proto`", name)
		}
	}
	for name := range committed {
		if fresh[name] == nil {
			t.Errorf("%s has no .proto any more", name)
		}
	}
}

// watch opens files that only the tool reads, so that Go's test cache sees them
// change.
func watch(t *testing.T, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no file is like %s: %v", pattern, err)
		}
		for _, name := range names {
			if _, err := os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// missing skips the test, or fails it where nothing may be skipped.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("IM_TEST_REQUIRE") == "all" {
		t.Fatalf(format, args...)
	}
	t.Skipf("skipped (IM_TEST_REQUIRE=all makes it fail): "+format, args...)
}

func generated(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.pb.go"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = text
	}
	return files
}
