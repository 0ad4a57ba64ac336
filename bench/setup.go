package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"

	"golang.org/x/sync/errgroup"

	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/proto/wire"
)

// How much of the HTTP API is used at once. Registering costs the server a slow
// hash for every user, so fewer.
const (
	usersPerCall = 1000
	parallelHTTP = 16
	registering  = 4
)

// connectionsPerSource is how many connections one source address makes, at most:
// ports are fewer than 65,536 and some are taken.
const connectionsPerSource = 20000

// prepare makes the users, their devices and what they will send.
func (r *run) prepare(ctx context.Context, shape shape) error {
	var err error
	if r.gateways, err = newGateways(&r.config); err != nil {
		return err
	}
	api := r.gateways.api()
	if r.config.Prefix == "" {
		r.config.Prefix = fmt.Sprintf("bench-%08x", uint32(r.id))
	}
	for i := range shape.users(&r.config) {
		r.users = append(r.users, &user{name: fmt.Sprintf("%s-%d", r.config.Prefix, i)})
	}
	if err := r.makeAccounts(ctx, api); err != nil {
		return err
	}
	for _, d := range r.devices {
		d.history = r.history.Device(d.user.id, d.id)
		d.arrivals, d.sends = d.history.Log(), d.history.Log()
	}
	return shape.layout(ctx, r)
}

// makeAccounts makes the users, and a token for every device.
func (r *run) makeAccounts(ctx context.Context, api *client.API) error {
	for _, u := range r.users {
		for i := range r.config.Devices {
			r.devices = append(r.devices, r.newDevice(u, i))
		}
	}
	if r.config.ServiceKey != "" {
		return r.byService(ctx, api.WithToken(r.config.ServiceKey))
	}
	return r.byRegistering(ctx, api)
}

func (r *run) newDevice(u *user, index int) *device {
	d := &device{run: r, user: u, id: "bench-" + platforms[index], platform: platforms[index], transport: r.config.Transport}
	if d.transport == Mixed {
		d.transport = [...]string{WebSocket, TCP}[(len(r.devices)+len(r.devices)/2)%2]
	}
	sources := r.config.Sources
	if sources == 0 && r.config.Connect > connectionsPerSource {
		sources = 1 + r.config.Connect/connectionsPerSource
	}
	if sources > 0 {
		d.source = net.IPv4(127, 0, 0, byte(1+len(r.devices)%min(sources, 250)))
	}
	d.onFrame, d.onEntry = d.frame, d.entry
	u.devices = append(u.devices, d)
	return d
}

func (r *run) byService(ctx context.Context, api *client.API) error {
	for first := 0; first < len(r.users); first += usersPerCall {
		part := r.users[first:min(first+usersPerCall, len(r.users))]
		names := make([]client.NewUser, len(part))
		for i, u := range part {
			names[i].Username = u.name
		}
		made, err := api.EnsureUsers(ctx, names)
		if err != nil {
			return fmt.Errorf("make users: %w", err)
		}
		if len(made) != len(part) {
			return fmt.Errorf("make users: %d of %d in the answer", len(made), len(part))
		}
		for i, u := range part {
			u.id = made[i].UserID
		}
	}
	return each(ctx, parallelHTTP, r.devices, func(ctx context.Context, d *device) error {
		tokens, err := api.ServiceTokens(ctx, d.user.id, d.id, d.platform)
		d.token = tokens.AccessToken
		return err
	})
}

func (r *run) byRegistering(ctx context.Context, api *client.API) error {
	var random [16]byte
	rand.Read(random[:])
	password := hex.EncodeToString(random[:])
	return each(ctx, registering, r.users, func(ctx context.Context, u *user) error {
		id, err := api.Register(ctx, u.name, password, "")
		if err != nil {
			return fmt.Errorf("register %s: %w", u.name, err)
		}
		u.id = id
		for _, d := range u.devices {
			tokens, err := api.Login(ctx, u.name, password, d.id, d.platform)
			if err != nil {
				return fmt.Errorf("log %s in: %w", u.name, err)
			}
			d.token = tokens.AccessToken
		}
		return nil
	})
}

// each does something for all items, so many at once.
func each[T any](ctx context.Context, parallel int, items []T, do func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, item := range items {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return do(ctx, item) })
	}
	return group.Wait()
}

// stream adds what a device will send to a user.
func (r *run) stream(from *device, to *user) error {
	fanout := len(from.user.devices)
	if to != from.user {
		fanout += len(to.devices)
	}
	return r.add(&stream{device: from, to: client.ToUser(to.id), conversation: r.direct(from.user, to), fanout: fanout})
}

// add adds a stream.
func (r *run) add(s *stream) error {
	from := s.device
	s.left = -1
	webSocket, form := from.transport == WebSocket, r.form
	if !webSocket && form == wire.Text {
		form = wire.JSON
	}
	ref := from.history.Ref()
	clientID, text := newClientID(r.id, ref), newText(r.id, ref, r.config.Size)
	var err error
	if s.plain, err = newFrameTemplate(form, webSocket, clientID, s.to, text, false); err != nil {
		return err
	}
	if s.named, err = newFrameTemplate(form, webSocket, clientID, s.to, text, true); err != nil {
		return err
	}
	from.streams = append(from.streams, s)
	r.streams = append(r.streams, s)
	return nil
}
