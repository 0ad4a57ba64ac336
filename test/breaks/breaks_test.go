// Package breaks breaks each guarantee on purpose and has it convicted. The product
// has no code for that: a break is a few replaced lines, which the compiler takes
// from beside the tree (go build -overlay), so what runs is the real server but for
// the one thing on which the guarantee rests.
//
//	table_test.go   the breaks, by guarantee
//	run_test.go     the three courts: im check, the stories, the model
//
// Of the table, make test runs those that are marked quick; make breaks runs all.
package breaks

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// root is the repository's, seen from here.
const root = "../.."

// breakage is one deliberate break of one guarantee.
type breakage struct {
	name    string
	promise string // as docs/guarantees.md calls it
	what    string // is done to it
	edits   []edit
	court   court
	quick   bool
}

// edit replaces the one place in a file that reads so.
type edit struct {
	file, old, new string
	helps          bool // it breaks nothing: it gives the break its chance
}

// court runs a broken tree and says what it was convicted of; empty: of nothing.
type court interface {
	try(t *testing.T, overlay string) (convicted string)
	wants() []string // any one of these in what it was convicted of
	String() string
}

// all says whether every break is to be run.
func all() bool { return os.Getenv("IM_BREAKS") == "all" }

func TestEveryBreakIsConvicted(t *testing.T) {
	for _, b := range breaks {
		t.Run(b.name, func(t *testing.T) {
			overlay := b.overlay(t) // in any case: it must still apply
			if !b.quick && !all() {
				return
			}
			convicted := b.court.try(t, overlay)
			for _, want := range b.court.wants() {
				if strings.Contains(convicted, want) {
					t.Logf("%s: convicted of %s", b.promise, want)
					return
				}
			}
			t.Errorf("%s is broken, and convicted was: %q; want one of %q", b.promise, convicted, b.court.wants())
		})
	}
}

// What the breaks are put on is honest: with the same refusals, but unbroken, the
// same court acquits.
func TestTheHonestServerIsAcquitted(t *testing.T) {
	b := breakage{edits: []edit{refusals}, court: bench{}}
	if convicted := b.court.try(t, b.overlay(t)); convicted != "" {
		t.Errorf("convicted of %s", convicted)
	}
}

// overlay writes the broken files and the list that the compiler takes them by.
func (b *breakage) overlay(t *testing.T) string {
	t.Helper()
	dir, texts := t.TempDir(), map[string]string{}
	for _, e := range b.edits {
		text, ok := texts[e.file]
		if !ok {
			read, err := os.ReadFile(filepath.Join(root, e.file))
			must(t, err)
			text = string(read)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s has %d places that read %q: the break does not apply any more", e.file, n, e.old)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		whole, err := filepath.Abs(filepath.Join(root, file))
		must(t, err)
		replace[whole] = filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		must(t, os.WriteFile(replace[whole], []byte(text), 0o600))
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	must(t, err)
	path := filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(path, list, 0o600))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
