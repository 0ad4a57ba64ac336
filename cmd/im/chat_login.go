package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
)

// chatOptions are the flags of im chat.
type chatOptions struct {
	server, user, password, transport, device, platform, dataDir, to string
	register                                                         bool
}

// identity is who chats, and from where.
type identity struct {
	name   string // user name
	tokens client.Tokens
	device string
}

// logIn gets tokens, after making the account if asked to.
func (o *chatOptions) logIn(ctx context.Context, name, password string, register bool) (identity, error) {
	name, ok := im.NormalUsername(name)
	if !ok {
		return identity{}, errors.New("a user name is 1 to 64 of a-z 0-9 . _ -")
	}
	device, err := o.deviceID()
	if err != nil {
		return identity{}, err
	}
	api := client.NewAPI(o.server, nil)
	if register {
		if _, err := api.Register(ctx, name, password, name); err != nil {
			return identity{}, fmt.Errorf("register %s: %w", name, o.explained(err))
		}
	}
	tokens, err := api.Login(ctx, name, password, device, o.platform)
	if err != nil {
		return identity{}, fmt.Errorf("log in as %s: %w", name, o.explained(err))
	}
	return identity{name: name, tokens: tokens, device: device}, nil
}

// explained says which server does not answer, instead of how one noticed.
func (o *chatOptions) explained(err error) error {
	if unanswered(err) {
		return fmt.Errorf("the server does not answer at %s", o.server)
	}
	return err
}

// deviceID returns the flag's, or one that is made up once and kept in the data
// directory.
func (o *chatOptions) deviceID() (string, error) {
	if o.device != "" {
		return o.device, nil
	}
	path := filepath.Join(o.dataDir, "device")
	data, err := os.ReadFile(path)
	if err == nil && im.ValidID(strings.TrimSpace(string(data))) {
		return strings.TrimSpace(string(data)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the device id: %w", err)
	}
	if err := os.MkdirAll(o.dataDir, 0o700); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	id := im.NewID()
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the device id: %w", err)
	}
	return id, nil
}

// statePath is the file of what this device remembers: one per server, user and
// device.
func (o *chatOptions) statePath(who identity) string {
	server := o.server
	if parsed, err := url.Parse(o.server); err == nil && parsed.Host != "" {
		server = parsed.Host
	}
	name := url.PathEscape(server) + "_" + who.tokens.UserID + "_" + url.PathEscape(who.device) + ".json"
	return filepath.Join(o.dataDir, "chat", name)
}

// defaultChatData is ~/.im, or a folder here where there is no home.
func defaultChatData() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ".im"
	}
	return filepath.Join(home, ".im")
}
