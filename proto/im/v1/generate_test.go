package imv1_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whoever changes a .proto file commits what `make proto` makes of it: it notes the
// files that it has read and those that it has made, so that nothing has to be built
// to see whether one has changed since.
func TestGeneratedFilesAreThoseOfTheProtoFiles(t *testing.T) {
	noted, err := os.ReadFile("generated.sum")
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	slices.Sort(names)
	for _, name := range names {
		if strings.HasSuffix(name, ".proto") || strings.HasSuffix(name, ".pb.go") {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&found, "%x  %s\n", sha256.Sum256(text), name)
		}
	}
	if found.String() != string(noted) {
		t.Errorf("run `make proto`; it has noted\n%sfound is\n%s", noted, found.String())
	}
}
