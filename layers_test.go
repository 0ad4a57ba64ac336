package im_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/im-transfer/im"

// layers says which folders of ours a folder may import, in the order of the
// message's way; "." is the root package. What lies below a folder belongs to it,
// and may import the rest of it, unless it has a line of its own.
var layers = map[string][]string{
	".":                   {},
	"proto":               {"."},
	"session":             {".", "proto"},
	"websocket":           {".", "proto", "session"},
	"tcp":                 {".", "proto", "session"},
	"transfer":            {".", "proto"},
	"http":                {".", "proto", "web"},
	"common":              {".", "proto"}, // each package of it by itself
	"common/storetest":    suites,
	"common/queuetest":    suites,
	"common/registrytest": suites,
	"common/filetest":     suites,
	"client":              {".", "proto"},
	"check":               {".", "proto", "client"},
	"check/faults":        {"check", "deploy"},
	"bench":               {".", "proto", "client", "check"},
	"web":                 {},
	"deploy":              {},
	"configs":             {"."},
	"app": {
		".", "proto", "session", "websocket", "tcp", "transfer", "http", "common", "client", "check", "bench",
		"web", "configs",
	},
	"cmd/im": {".", "proto", "app", "configs", "client", "check", "check/faults", "bench", "deploy"},
}

// The conformance suites see the interfaces that they are about.
var suites = []string{".", "proto", "transfer", "session", "http"}

// dependencies says which folders may import a module of others. A new one is
// added here, with a reason in the commit.
var dependencies = map[string][]string{
	"github.com/HdrHistogram/hdrhistogram-go": {"bench"},
	"github.com/danielgtaylor/huma":           {"http"},
	"github.com/fsnotify/fsnotify":            {"common/certificates"},
	"github.com/golang-jwt/jwt":               {"common/jwt"},
	"github.com/google/uuid":                  {"transfer", "client", "bench"},
	"github.com/gorilla/websocket":            {"websocket", "client"},
	"github.com/openzipkin/zipkin-go":         {"common/zipkin"},
	"github.com/planetscale/vtprotobuf":       {"proto"},
	"github.com/prometheus/client_golang":     {"session", "websocket", "tcp", "transfer", "http", "app"},
	"github.com/rabbitmq/amqp091-go":          {"common/rabbitmq"},
	"github.com/spf13/cobra":                  {"cmd/im"},
	"github.com/spf13/viper":                  {"configs"},
	"go.etcd.io/etcd":                         {"common/etcd"},
	"go.mongodb.org/mongo-driver":             {"common/mongo", "deploy"}, // deploy starts a replica set
	"golang.org/x/crypto":                     {"common/argon2"},
	"golang.org/x/sync":                       {"session", "transfer", "http", "client", "check", "bench", "app", "cmd/im"},
	"golang.org/x/term":                       {"cmd/im"},
	"golang.org/x/time":                       {"transfer", "http"},
	"google.golang.org/grpc":                  {"proto", "session", "transfer", "common/etcd", "app"},
	"google.golang.org/protobuf":              {"proto", "session", "transfer", "http", "client", "check", "bench"},
	"modernc.org/libc":                        {"common/sqlite"},
	"modernc.org/sqlite":                      {"common/sqlite"},
}

// source is one Go file of the tree.
type source struct {
	path      string // with slashes, relative to the root
	folder    string
	syntax    *ast.File
	lines     int
	test      bool
	generated bool
}

// sources parses every Go file; Go's test cache sees them change, since they are
// opened here.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := entry.Name()
			if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || name == "data") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{
			path: name, folder: path.Dir(name), syntax: syntax, lines: bytes.Count(text, []byte("\n")),
			test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(syntax),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d Go files: not the repository's root?", len(all))
	}
	return all
}

// layerOf returns the line of the table that a folder belongs to: the deepest one,
// or "" for none.
func layerOf(folder string) string {
	for f := folder; ; f = path.Dir(f) {
		if _, is := layers[f]; is && (f != "." || folder == ".") {
			return f
		}
		if f == "." {
			return ""
		}
	}
}

// unit is what may import itself freely: a layer, but within common each package.
func unit(folder string) string {
	layer := layerOf(folder)
	if parts := strings.Split(folder, "/"); layer == "common" && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return layer
}

func imports(s source) []string {
	var paths []string
	for _, spec := range s.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// ours returns the folder of an import that is of this module.
func ours(imported string) (string, bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

func TestLayers(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || unit(s.folder) == "test" || strings.HasPrefix(s.folder+"/", "test/") {
			continue
		}
		layer := layerOf(s.folder)
		if layer == "" {
			t.Errorf("%s: folder %s has no line in the table of layers", s.path, s.folder)
			continue
		}
		for _, imported := range imports(s) {
			folder, is := ours(imported)
			if is && unit(folder) != unit(s.folder) && !slices.Contains(layers[layer], layerOf(folder)) {
				t.Errorf("%s imports %s: %s may import %v", s.path, folder, layer, layers[layer])
			}
		}
	}
}

func TestDependencies(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.folder+"/", "test/") {
			continue
		}
		for _, imported := range imports(s) {
			first, _, _ := strings.Cut(imported, "/")
			if _, is := ours(imported); is || !strings.Contains(first, ".") {
				continue // ours, or the standard library
			}
			name, users := dependency(imported)
			switch {
			case name == "":
				t.Errorf("%s imports %s, which the table of dependencies does not know", s.path, imported)
			case !slices.ContainsFunc(users, func(user string) bool { return s.folder == user || strings.HasPrefix(s.folder, user+"/") }):
				t.Errorf("%s imports %s: only %v may", s.path, imported, users)
			}
		}
	}
}

func dependency(imported string) (string, []string) {
	for name, users := range dependencies {
		if imported == name || strings.HasPrefix(imported, name+"/") {
			return name, users
		}
	}
	return "", nil
}

func TestTheRootImportsTheStandardLibraryOnly(t *testing.T) {
	for _, s := range sources(t) {
		if s.folder != "." || s.test {
			continue
		}
		for _, imported := range imports(s) {
			if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s", s.path, imported)
			}
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string]int{}
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.folder+"/", "test/") {
			continue
		}
		comments[s.folder] += 0
		if s.syntax.Doc != nil {
			comments[s.folder]++
		}
	}
	for folder, n := range comments {
		if n != 1 {
			t.Errorf("%s has %d package comments", folder, n)
		}
	}
}

func TestFiles(t *testing.T) {
	const most = 700
	for _, s := range sources(t) {
		if s.folder == "common" {
			t.Errorf("%s: common itself holds no Go file", s.path)
		}
		if s.lines > most && !s.generated {
			t.Errorf("%s has %d lines, more than %d", s.path, s.lines, most)
		}
	}
}

// Only main, and in tests TestMain, may end the process, and nothing may happen
// before main.
func TestNobodyEndsTheProcessOrStartsByItself(t *testing.T) {
	for _, s := range sources(t) {
		if s.generated {
			continue
		}
		for _, declaration := range s.syntax.Decls {
			function, is := declaration.(*ast.FuncDecl)
			if is && function.Recv == nil && function.Name.Name == "init" {
				t.Errorf("%s has an init function", s.path)
			}
			if is && (s.syntax.Name.Name == "main" && function.Name.Name == "main" || s.test && function.Name.Name == "TestMain") {
				continue
			}
			for _, call := range calls(declaration, func(pkg, name string) bool {
				return pkg == "os" && name == "Exit" ||
					pkg == "log" && (strings.HasPrefix(name, "Fatal") || strings.HasPrefix(name, "Panic"))
			}) {
				t.Errorf("%s calls %s", s.path, call)
			}
		}
	}
}

// A sleep is no synchronisation. In a bubble of synctest it is, where it ends when
// everybody else waits; and the load generator's pace is a matter of time itself.
func TestNobodySleeps(t *testing.T) {
	for _, s := range sources(t) {
		if s.generated || s.test && slices.Contains(imports(s), "testing/synctest") || !s.test && s.folder == "bench" {
			continue
		}
		for _, declaration := range s.syntax.Decls {
			for range calls(declaration, func(pkg, name string) bool { return pkg == "time" && name == "Sleep" }) {
				t.Errorf("%s calls time.Sleep: wait for what is meant", s.path)
			}
		}
	}
}

// calls returns which functions of other packages a declaration names, of those
// wanted.
func calls(declaration ast.Decl, wanted func(pkg, name string) bool) []string {
	var found []string
	ast.Inspect(declaration, func(node ast.Node) bool {
		selector, is := node.(*ast.SelectorExpr)
		if !is {
			return true
		}
		if from, is := selector.X.(*ast.Ident); is && wanted(from.Name, selector.Sel.Name) {
			found = append(found, from.Name+"."+selector.Sel.Name)
		}
		return true
	})
	return found
}
