package main

import (
	"context"
	"os"

	"golang.org/x/term"
)

// readHidden reads a line from a terminal without showing it. When the context
// ends first the terminal is as it was before; the reading goes on until the
// program ends, which is what is about to happen.
func readHidden(ctx context.Context, terminal *os.File) (string, error) {
	descriptor := int(terminal.Fd())
	was, err := term.GetState(descriptor)
	if err != nil {
		return "", err
	}
	type result struct {
		line []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := term.ReadPassword(descriptor)
		done <- result{line, err}
	}()
	select {
	case r := <-done:
		return string(r.line), r.err
	case <-ctx.Done():
		_ = term.Restore(descriptor, was) // nothing more to do
		return "", ctx.Err()
	}
}
