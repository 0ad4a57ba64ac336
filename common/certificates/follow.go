package certificates

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// gather is how long after the first sign of a change the files are read: a
	// certificate and its key are written one after the other. Being too early costs
	// a line in the log only, since the second change is seen too.
	gather = time.Second
	// retry is how long a watch that can not be set up is waited for.
	retry = 5 * time.Second
	// maxSteps bounds a way; symbolic links may lead in a circle.
	maxSteps = 255
)

// follow reads the files whenever something on the way to them has changed. Each
// time it watches anew, since the way may lead elsewhere now.
func (s *Source) follow(watcher *watcher) {
	for {
		changed := watcher.wait(s.done)
		if changed {
			changed = s.pause(gather)
		}
		if err := watcher.Close(); err != nil {
			s.log.Warn("stop watching certificate files", "error", err)
		}
		if !changed {
			return
		}
		if watcher = s.watchAgain(); watcher == nil {
			return
		}
		s.reload() // after the watch has begun: no change is missed
	}
}

// watchAgain returns nil only when the source is closed.
func (s *Source) watchAgain() *watcher {
	for complained := false; ; complained = true {
		watcher, err := s.watch()
		if err == nil {
			return watcher
		}
		if !complained {
			s.log.Error("certificate files can not be watched; trying again", "error", err, "every", retry)
		}
		if !s.pause(retry) {
			return nil
		}
	}
}

// pause waits; false when the source is closed meanwhile.
func (s *Source) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.done:
		return false
	}
}

// watcher watches the directories of names.
type watcher struct {
	*fsnotify.Watcher
	names map[string]bool // and the directories themselves
}

// watch begins to watch the ways to all files.
func (s *Source) watch() (*watcher, error) {
	inner, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	w := &watcher{Watcher: inner}
	for {
		names := s.files.names()
		if maps.Equal(names, w.names) {
			return w, nil // as it was before the watch began
		}
		w.names = names
		for name := range names {
			switch err := w.Add(filepath.Dir(name)); {
			case errors.Is(err, os.ErrNotExist): // it has gone just now
				w.names = nil
			case err != nil:
				return nil, errors.Join(fmt.Errorf("watch %s: %w", filepath.Dir(name), err), inner.Close())
			}
		}
	}
}

// wait returns true when something on the ways has changed, or may have; false when
// done is closed.
func (w *watcher) wait(done <-chan struct{}) bool {
	for {
		select {
		case event := <-w.Events:
			if w.names[event.Name] || w.holds(event.Name) {
				return true
			}
		case <-w.Errors: //nolint:errcheck // events may have been lost, whatever it says
			return true
		case <-done:
			return false
		}
	}
}

// holds reports whether a directory holds one of the names.
func (w *watcher) holds(directory string) bool {
	for name := range w.names {
		if filepath.Dir(name) == directory {
			return true
		}
	}
	return false
}

func (f Files) names() map[string]bool {
	names := map[string]bool{}
	for _, path := range []string{f.Cert, f.Key, f.CA} {
		if path != "" {
			steps(path, names)
		}
	}
	return names
}

// steps adds the names whose change may give a path another content: each symbolic
// link on the way, and the file at the end or whatever is missing. The
// directories of these names contain no links. This is how Kubernetes swaps all
// files of a volume: a link to their directory is renamed over.
func steps(path string, names map[string]bool) {
	absolute, err := filepath.Abs(path)
	if err != nil { // no working directory
		absolute = path
	}
	root := filepath.VolumeName(absolute) + string(filepath.Separator)
	at, rest := root, split(absolute)
	for n := 0; len(rest) > 0 && n < maxSteps; n++ {
		name := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(name)
		switch {
		case err != nil:
			names[name] = true
			return
		case info.Mode()&os.ModeSymlink == 0:
			at = name
			continue
		}
		names[name] = true
		target, err := os.Readlink(name)
		if err != nil {
			return
		}
		if filepath.IsAbs(target) {
			at = root
		}
		rest = append(split(target), rest...)
	}
	names[at] = true
}

// split returns the elements of a path below its root.
func split(path string) []string {
	below := filepath.ToSlash(strings.TrimPrefix(path, filepath.VolumeName(path)))
	return strings.FieldsFunc(below, func(r rune) bool { return r == '/' })
}
