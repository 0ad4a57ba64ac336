package docs

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// What guarantees.md names is there: tests, and files and folders of this tree.
func TestWhatTheGuaranteesRestOnExists(t *testing.T) {
	text, err := os.ReadFile("guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	tree := os.DirFS("..")
	declared := declaredTests(t, tree)
	named := 0
	for _, match := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(text), -1) {
		name := match[1]
		switch {
		case regexp.MustCompile(`^Test[A-Z]\w*$`).MatchString(name):
			if named++; !declared[name] {
				t.Errorf("there is no %s", name)
			}
		case regexp.MustCompile(`^[a-z]+(/[\w.-]+)*/[\w-]+(\.go)?/?$`).MatchString(name):
			if _, err := fs.Stat(tree, strings.TrimSuffix(name, "/")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d tests are named: they are not found", named)
	}
}

// declaredTests returns the names of all tests of a tree.
func declaredTests(t *testing.T, tree fs.FS) map[string]bool {
	declared := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "node_modules" || base == "data"):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		for _, match := range function.FindAllSubmatch(text, -1) {
			declared[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return declared
}
