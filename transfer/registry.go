package transfer

import (
	"context"

	"github.com/im-transfer/im"
)

// Registry knows the live servers.
type Registry interface {
	// Register makes a server known until the context ends or Deregister is
	// called; calling it again for the same id replaces the row (load figures).
	Register(ctx context.Context, server im.Server) error
	// Deregister makes a server unknown.
	Deregister(ctx context.Context, id string) error
	// Watch sends the live servers of a role, sorted by id: at once, and after
	// every change, the newest list replacing one not yet taken. The channel is
	// closed when the context ends.
	Watch(ctx context.Context, role string) (<-chan []im.Server, error)
}

// Tokens judges access tokens.
type Tokens interface {
	// Verify returns what a token says; an im.Unauthenticated error for one that
	// is not ours or has ended.
	Verify(token string) (im.Claims, error)
}
