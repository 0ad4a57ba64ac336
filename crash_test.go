package im_test

import (
	"go/ast"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

// The table of crash places is what the constants say, each has a comment, and each
// place stands exactly once in the code: no name is left over when a step is
// rewritten, and none means two places.
func TestEveryCrashPlaceStandsInTheCodeOnce(t *testing.T) {
	var names []string
	var places []im.CrashPlace
	used := map[string][]string{}
	for _, s := range sources(t) {
		if s.path == "crash.go" {
			names, places = crashConstants(t, s.syntax)
		}
		if s.test || s.folder == "." {
			continue
		}
		ast.Inspect(s.syntax, func(node ast.Node) bool {
			if call, is := node.(*ast.CallExpr); is && isCrashPoint(call) {
				name := "something else"
				if place, is := call.Args[0].(*ast.SelectorExpr); is {
					name = place.Sel.Name
				}
				used[name] = append(used[name], s.path)
			}
			return true
		})
	}
	if !slices.Equal(places, im.CrashPlaces()) {
		t.Errorf("the constants are %v, CrashPlaces returns %v", places, im.CrashPlaces())
	}
	for i, name := range names {
		if len(used[name]) != 1 {
			t.Errorf("%s (%s) stands in %v, not at one place", name, places[i], used[name])
		}
		delete(used, name)
	}
	for name, where := range used {
		t.Errorf("%v call CrashPoint with %s, which is not in the table", where, name)
	}
}

func isCrashPoint(call *ast.CallExpr) bool {
	function, is := call.Fun.(*ast.SelectorExpr)
	if !is || function.Sel.Name != "CrashPoint" || len(call.Args) != 1 {
		return false
	}
	from, is := function.X.(*ast.Ident)
	return is && from.Name == "im"
}

// docs/guarantees.md says of each what must hold after it.
func TestEveryCrashPlaceIsInTheGuarantees(t *testing.T) {
	text, err := os.ReadFile("docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Crash points\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, place := range im.CrashPlaces() {
		if !strings.Contains(section, "`"+string(place)+"`") {
			t.Errorf("docs/guarantees.md does not say what must hold after %s", place)
		}
	}
}

// crashConstants returns the constants of the table with their values.
func crashConstants(t *testing.T, file *ast.File) (names []string, places []im.CrashPlace) {
	t.Helper()
	for _, declaration := range file.Decls {
		table, is := declaration.(*ast.GenDecl)
		if !is || table.Tok != token.CONST {
			continue
		}
		for _, spec := range table.Specs {
			constant := spec.(*ast.ValueSpec)
			name := constant.Names[0].Name
			value, err := strconv.Unquote(constant.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(constant.Doc.Text(), name+": ") {
				t.Errorf("the comment of %s does not say what has happened there", name)
			}
			names, places = append(names, name), append(places, im.CrashPlace(value))
		}
	}
	return names, places
}
