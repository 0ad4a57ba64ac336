package local

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
)

// output is where the logs of several programs come together, a whole line at a
// time. It is safe for concurrent use.
type output struct {
	mu sync.Mutex
	to io.Writer
}

// lines is one program's part of an output: each line gets a prefix. One goroutine
// uses it.
type lines struct {
	out    *output
	prefix string
	rest   []byte   // of a line that has no end yet
	last   []string // of its lines, at most lastLines
}

// lastLines is how many lines of a program are told where it ends too early.
const lastLines = 8

// longestLine is where a line without an end is broken.
const longestLine = 64 << 10

// Write never fails: a program must not suffer from a log that nobody reads.
func (l *lines) Write(text []byte) (int, error) {
	l.rest = append(l.rest, text...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 && len(l.rest) < longestLine {
			return len(text), nil
		}
		if end < 0 {
			l.line(l.rest)
			l.rest = l.rest[:0]
			return len(text), nil
		}
		l.line(l.rest[:end])
		l.rest = append(l.rest[:0], l.rest[end+1:]...)
	}
}

func (l *lines) line(line []byte) {
	l.out.line(l.prefix, line)
	if len(l.last) == lastLines {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.last = append(l.last, string(line))
}

// lastWords returns the lines that the program wrote last. It must have ended.
func (l *lines) lastWords() string { return strings.Join(l.last, "\n") }

func (o *output) line(prefix string, line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	whole := append([]byte(prefix), line...)
	o.to.Write(append(whole, '\n')) //nolint:errcheck // see Write
}
