package workload

import (
	"context"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	usersPerCall = 1000
	parallelHTTP = 16
)

// user is an account of the run.
type user struct {
	id      string
	devices []*device
	witness *witness
}

// contact is whom a user's devices may send to: a conversation, and how it is named
// on the wire.
type contact struct {
	id           string // of the conversation
	conversation check.ConversationRef
	to           *imv1.To
}

// prepare makes the users, their conversations and devices, a token for each, and the
// groups.
func (r *run) prepare(ctx context.Context) error {
	if err := r.makeUsers(ctx); err != nil {
		return err
	}
	for i, u := range r.users {
		var contacts []contact
		for _, other := range r.config.contacts(i) {
			contacts = append(contacts, r.direct(u, r.users[other]))
		}
		for range r.config.Devices {
			d := newDevice(r, u, contacts)
			r.devices, u.devices = append(r.devices, d), append(u.devices, d)
		}
		u.witness = newWitness(r, u)
	}
	getting, limited := errgroup.WithContext(ctx)
	getting.SetLimit(parallelHTTP)
	for _, d := range r.devices {
		getting.Go(func() (err error) {
			d.tokens, err = r.serviceTokens(limited, d.user, d.id, d.platform)
			return err
		})
	}
	if err := getting.Wait(); err != nil {
		return fmt.Errorf("get tokens: %w", err)
	}
	return r.makeGroups(ctx)
}

// makeUsers makes users that are new with every run, so that inboxes begin with it.
func (r *run) makeUsers(ctx context.Context) error {
	for first := 0; first < r.config.Users; first += usersPerCall {
		names := make([]client.NewUser, min(usersPerCall, r.config.Users-first))
		for i := range names {
			names[i].Username = fmt.Sprintf("check-%s-%d", r.id, first+i)
		}
		var made []client.EnsuredUser
		err := r.servers.call(ctx, r.config.ServiceKey, func(ctx context.Context, api *client.API) (err error) {
			made, err = api.EnsureUsers(ctx, names)
			return err
		})
		if err == nil && len(made) != len(names) {
			err = fmt.Errorf("%d of %d in the answer", len(made), len(names))
		}
		if err != nil {
			return fmt.Errorf("make users: %w", err)
		}
		for _, u := range made {
			r.users = append(r.users, &user{id: u.UserID})
		}
	}
	return nil
}

// direct makes the contact that another user, or oneself, is.
func (r *run) direct(self, other *user) contact {
	id, ref := im.DirectConversation(self.id, other.id), r.history.Direct(self.id, other.id)
	r.conversations[id] = ref
	return contact{id, ref, client.ToUser(other.id)}
}

// serviceTokens gets tokens for a device, as a business with accounts of its own does.
func (r *run) serviceTokens(ctx context.Context, u *user, device, platform string) (tokens client.Tokens, err error) {
	err = r.servers.call(ctx, r.config.ServiceKey, func(ctx context.Context, api *client.API) error {
		tokens, err = api.ServiceTokens(ctx, u.id, device, platform)
		return err
	})
	return tokens, err
}

func newDevice(r *run, u *user, contacts []contact) *device {
	index, platform := len(r.devices), platforms[len(u.devices)]
	d := &device{
		run: r, user: u, id: "check-" + platform, platform: platform, script: r.config.script(index),
		dice:   rand.New(rand.NewPCG(r.config.Seed, 1<<33+uint64(index))),
		orders: make(chan order), jobs: make(chan func(), maxJobs), absent: true,
		newest: map[check.ConversationRef]int64{}, marked: map[check.ConversationRef]int64{}, tally: newTally(),
	}
	d.recorded = r.history.Device(u.id, d.id)
	d.log = d.recorded.Log()
	for _, to := range contacts {
		d.lanes = append(d.lanes, &lane{contact: to})
	}
	return d
}
