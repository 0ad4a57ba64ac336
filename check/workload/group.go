package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// mostChanges is how many changes of a device's groups wait at most; what comes beyond
// them is passed over.
const mostChanges = 32

// group is a group of the run. What changes belongs to its owner's first device.
type group struct {
	contact
	id     string
	guests []*user
	in     map[*user]bool
	made   []check.Change
}

// memberChange is a change that waits for its answer, or its turn.
type memberChange struct {
	group *group
	guest *user
	join  bool
	key   string // Idempotency-Key
}

// makeGroups makes the groups, with those who are in for good, and the lanes to them:
// first of all who talk, then of those who only read.
func (r *run) makeGroups(ctx context.Context) error {
	r.groups = make([]*group, max(0, r.config.Groups))
	making, ctx := errgroup.WithContext(ctx)
	making.SetLimit(parallelHTTP)
	for i := range r.groups {
		making.Go(func() (err error) {
			r.groups[i], err = r.makeGroup(ctx, i)
			return err
		})
	}
	if err := making.Wait(); err != nil {
		return fmt.Errorf("make groups: %w", err)
	}
	for i, g := range r.groups {
		r.conversations[g.contact.id] = g.conversation
		for _, member := range r.config.circle(i).members {
			r.users[member].listen(g)
		}
	}
	for _, g := range r.groups {
		for _, guest := range g.guests {
			guest.listen(g)
		}
	}
	return nil
}

// listen gives a user's devices a lane to a group.
func (u *user) listen(g *group) {
	for _, d := range u.devices {
		d.lanes = append(d.lanes, &lane{contact: g.contact})
	}
}

func (r *run) makeGroup(ctx context.Context, nth int) (*group, error) {
	g, of := &group{in: map[*user]bool{}}, r.config.circle(nth)
	var members []string
	var stays []check.Stay
	for _, member := range of.members {
		members = append(members, r.users[member].id)
		stays = append(stays, check.Stay{UserID: r.users[member].id, From: 1})
	}
	for _, guest := range of.guests {
		g.guests = append(g.guests, r.users[guest])
	}
	owner := r.users[of.members[0]].devices[0]
	err := r.servers.insist(ctx, r.config.Patience, owner.tokens.AccessToken, func(ctx context.Context, api *client.API) (err error) {
		g.id, g.contact.id, err = api.WithKey(fmt.Sprint(r.id, "/group/", nth)).CreateGroup(ctx, "check "+r.id, members[1:]...)
		return err
	})
	g.conversation = r.history.Conversation(g.contact.id, stays...)
	g.to = &imv1.To{To: &imv1.To_GroupId{GroupId: g.id}}
	return g, err
}

// changeMembers has a guest come into a group, or go out, behind the changes that wait.
func (d *device) changeMembers(s *step) {
	g := d.run.groups[s.lane]
	if len(d.changes) >= mostChanges {
		return
	}
	guest := g.guests[s.guest]
	join := !g.in[guest]
	g.in[guest] = join
	d.changed++
	d.changes = append(d.changes, memberChange{g, guest, join, fmt.Sprintf("%s/%d/%d", d.run.id, d.recorded.Ref(), d.changed)})
}

// changeDue asks for the first change that waits, again and again until there is an
// answer, by HTTP.
func (d *device) changeDue(now time.Time) time.Time {
	switch {
	case d.changing || len(d.changes) == 0:
		return time.Time{}
	case d.changeAt.After(now):
		return d.changeAt
	}
	d.changing = true
	c, token, ctx := d.changes[0], d.tokens.AccessToken, d.work
	d.aside(func() func() {
		err := d.run.servers.once(ctx, token, func(ctx context.Context, api *client.API) error {
			if api = api.WithKey(c.key); c.join {
				return api.AddMembers(ctx, c.group.id, c.guest.id)
			}
			return api.RemoveMember(ctx, c.group.id, c.guest.id)
		})
		return func() { d.memberChanged(c, err) }
	})
	return time.Time{}
}

// memberChanged takes the answer. A refusal that is final is no fault by itself: what
// was refused must not have happened.
func (d *device) memberChanged(c memberChange, err error) {
	d.changing = false
	var refusal *im.Error
	switch {
	case err == nil:
		c.group.made = append(c.group.made, check.Change{UserID: c.guest.id, Joined: c.join})
	case errors.As(err, &refusal) && refusal.Code == im.Unauthenticated:
		d.noToken = true
		d.away(0, false) // and come back with new ones
		fallthrough
	case refusal == nil, !refusal.Code.Final():
		d.changeAt = time.Now().Add(max(leastPause, mostPause/4))
		return
	default:
		d.tally.refused[refusal.Code]++
		c.group.in[c.guest] = !c.join
	}
	d.run.progress()
	d.changes = d.changes[1:]
}

// settleGroups tells the judge what was done to the groups.
func (r *run) settleGroups() {
	for _, g := range r.groups {
		r.history.Changes(g.conversation, g.made...)
	}
	for _, d := range r.devices {
		for _, c := range d.changes {
			r.history.Changes(c.group.conversation, check.Change{UserID: c.guest.id, Joined: c.join, Unsure: true})
		}
	}
}
