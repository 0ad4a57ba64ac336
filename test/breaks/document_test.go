package breaks

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table of guarantees.md")

// The table of docs/guarantees.md is the one that is run.
func TestTheDocumentShowsTheBreaks(t *testing.T) {
	document := filepath.Join(root, "docs", "guarantees.md")
	read, err := os.ReadFile(document)
	must(t, err)
	var rows strings.Builder
	for _, b := range breaks {
		var files []string
		for _, e := range b.edits {
			if file := "`" + e.file + "`"; !e.helps && !strings.Contains(strings.Join(files, " "), file) {
				files = append(files, file)
			}
		}
		fmt.Fprintf(&rows, "| %s | %s (%s) | %s | %s |\n", b.promise, b.what, strings.Join(files, ", "), strings.Join(b.court.wants(), ", "), b.court)
	}
	const begin, end = "<!-- begin: breaks -->\n", "<!-- end -->"
	whole := begin + "| promise | break (in) | convicted of | by |\n|---|---|---|---|\n" + rows.String() + end
	fresh := regexp.MustCompile("(?s)"+begin+".*?"+end).ReplaceAllLiteralString(string(read), whole)
	switch {
	case fresh == string(read) && strings.Contains(fresh, begin):
	case !*update:
		t.Errorf("%s does not show the breaks: run go test ./test/breaks -run Document -update", document)
	default:
		must(t, os.WriteFile(document, []byte(fresh), 0o644))
	}
}
