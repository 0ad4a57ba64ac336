package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/im-transfer/im/client"
)

// defaultServer is where the http server is by default.
const defaultServer = "http://127.0.0.1:8080"

const (
	// maxLine is how long a line of input may be: more than any message.
	maxLine = 64 << 10
	// terminalLine is what a terminal gives of a line; what is typed behind it is lost
	// (termios(3), canonical mode).
	terminalLine = 4095
)

// newChatCommand returns "im chat", a terminal client.
func newChatCommand() *cobra.Command {
	var options chatOptions
	command := &cobra.Command{
		Use:   "chat",
		Short: "Chat from the terminal",
		Long: "Chat from the terminal, line by line, in a pipe too.\n\n" +
			"What you type is said to whom you talk to; these are commands:\n" + chatHelp,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return runChat(command.Context(), &options, command.InOrStdin(), command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.server, "server", defaultServer, "base URL of the http server")
	flags.StringVar(&options.user, "user", "", "user name; without it, /login or /register")
	flags.StringVar(&options.password, "password", "", "password; better in IM_CHAT_PASSWORD, or asked for when it is left out")
	flags.BoolVar(&options.register, "register", false, "make the account first")
	flags.StringVar(&options.to, "to", "", "talk to this user at once")
	flags.StringVar(&options.transport, "transport", client.WebSocket, "websocket or tcp")
	flags.StringVar(&options.device, "device", "", "device id; made up once and kept in the data directory")
	flags.StringVar(&options.platform, "platform", "desktop", "web, desktop, ios, android, tablet or other")
	flags.StringVar(&options.dataDir, "data-dir", defaultChatData(), "where to remember what has been shown")
	return command
}

// chat is the terminal: lines in, lines out, and whoever is logged in.
type chat struct {
	options *chatOptions
	out     io.Writer
	zone    *time.Location
	talk    *talk // nil: nobody is logged in
}

func runChat(ctx context.Context, options *chatOptions, in io.Reader, out io.Writer) error {
	c := &chat{options: options, out: &lockedWriter{out: out}, zone: time.Local}
	defer c.leave(ctx)
	if options.user != "" {
		password, err := askPassword(ctx, options.password, in, out)
		if err != nil {
			return err
		}
		if err := c.logIn(ctx, options.user, password, options.register); err != nil {
			return err
		}
	} else {
		c.say("-- /login NAME PASSWORD or /register NAME PASSWORD")
	}
	if options.to != "" && c.talk != nil {
		if err := c.talk.do(ctx, chatCommand{verb: verbTo, words: []string{options.to}}); err != nil {
			return err
		}
	}
	return c.loop(ctx, readLines(in))
}

// loop does what the lines say until they end, /quit or the context ends.
func (c *chat) loop(ctx context.Context, in *typed) error {
	for {
		select {
		case line, more := <-in.lines:
			if !more {
				return in.err
			}
			if in.terminal && len(line) >= terminalLine {
				c.say(fmt.Sprintf("-- a terminal cuts lines at %d bytes: this one was not said; longer ones take a pipe", terminalLine))
				continue
			}
			command, err := parseChat(line)
			if command.verb == verbQuit {
				return nil
			}
			if err == nil {
				err = c.do(ctx, command)
			}
			if err != nil {
				c.say("-- " + reason(err))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *chat) do(ctx context.Context, command chatCommand) error {
	switch {
	case command.verb == verbNothing:
		return nil
	case command.verb == verbHelp:
		c.say(chatHelp)
		return nil
	case command.verb == verbRegister, command.verb == verbLogin:
		return c.logIn(ctx, command.words[0], command.words[1], command.verb == verbRegister)
	case c.talk == nil:
		return errors.New("log in first: /login NAME PASSWORD")
	}
	return c.talk.do(ctx, command)
}

// logIn replaces who is logged in. It does not wait for the connection: the
// client says when it has one.
func (c *chat) logIn(ctx context.Context, name, password string, register bool) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	who, err := c.options.logIn(asking, name, password, register)
	if err != nil {
		return err
	}
	c.leave(ctx)
	if c.talk, err = newTalk(c.options, who, c.out, c.zone); err != nil { //nolint:contextcheck // it starts nothing
		c.talk = nil
		return err
	}
	if err := c.talk.client.Connect(asking); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (c *chat) leave(ctx context.Context) {
	if c.talk != nil {
		c.talk.leave(ctx)
		c.talk = nil
	}
}

func (c *chat) say(line string) {
	fmt.Fprintln(c.out, line)
}

// typed is lines, and, once they have ended, why.
type typed struct {
	lines    chan string
	terminal bool  // they are typed
	err      error // nil at the end of the file; good once lines is closed
}

// readLines reads lines in the background. The goroutine ends with the input,
// which for a terminal is the end of the program.
func readLines(in io.Reader) *typed {
	file, ok := in.(*os.File)
	read := &typed{lines: make(chan string), terminal: ok && term.IsTerminal(int(file.Fd()))}
	go func() {
		defer close(read.lines)
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			read.lines <- scanner.Text()
		}
		if errors.Is(scanner.Err(), bufio.ErrTooLong) {
			read.err = fmt.Errorf("a line has at most %d bytes: this one, and what follows, was not said", maxLine)
		} else if err := scanner.Err(); err != nil {
			read.err = fmt.Errorf("read what is typed: %w", err)
		}
	}()
	return read
}

// askPassword returns the flag's password, or asks for one where there is a
// terminal to ask at.
func askPassword(ctx context.Context, given string, in io.Reader, out io.Writer) (string, error) {
	if given = cmp.Or(given, os.Getenv("IM_CHAT_PASSWORD")); given != "" {
		return given, nil
	}
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return "", errors.New("IM_CHAT_PASSWORD, or --password, is needed where there is no terminal to ask at")
	}
	fmt.Fprint(out, "password: ")
	password, err := readHidden(ctx, file)
	fmt.Fprintln(out)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return password, nil
}

// lockedWriter keeps lines of different goroutines apart.
type lockedWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *lockedWriter) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(data)
}
