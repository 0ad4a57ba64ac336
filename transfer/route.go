package transfer

import (
	"context"
	"fmt"
	"slices"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// route is an inbox partition, and those of an event's recipients who are in it.
type route struct {
	partition int
	userIDs   []string
}

// routes returns the ways of an event to its recipients, who are the members at its
// seq. They are worked out once for all messages between two changes.
func (p *pending) routes(partitions int) ([]route, error) {
	c := p.conversation
	if p.event.Kind == im.KindMembership || p.event.Kind == im.KindContact || p.stays != nil || p.event.Seq <= c.changed ||
		p.target != nil && !c.allSee(p.target) {
		recipients, err := p.recipients()
		return routesOf(recipients, partitions), err
	}
	if c.routes == nil {
		c.routes = routesOf(staysWith(c.Members, p.event.Seq), partitions)
	}
	return c.routes, nil
}

// recipients returns the stays that an event goes to. A request to be let into a group
// concerns those who can answer it, and a refusal whoever had asked, too.
func (p *pending) recipients() ([]im.Member, error) {
	if p.event.Kind == im.KindContact {
		return []im.Member{{UserID: p.event.SenderID}}, nil
	}
	members := p.stays
	if members == nil {
		members = staysWith(p.conversation.Members, p.event.Seq)
	}
	if p.target != nil { // what has become of a message concerns those who see it
		members = slices.DeleteFunc(slices.Clone(members), func(m im.Member) bool { return !p.conversation.sees(m, p.target) })
	}
	if p.event.Kind != im.KindMembership {
		return members, nil
	}
	if p.effect != nil { // it has not taken place where it is stored together with its way to the inboxes
		members = slices.Concat(members, p.effect.members)
	}
	var m imv1.Membership
	if err := m.UnmarshalVT(p.event.Body); err != nil {
		return nil, fmt.Errorf("decode membership %d of %s: %w", p.event.Seq, p.event.ConversationID, err)
	}
	switch action := im.Action(m.Action); action {
	case im.ActionRequested, im.ActionRefused:
		members = slices.DeleteFunc(slices.Clone(members), func(m im.Member) bool { return rank(m) == 0 })
		if action == im.ActionRefused {
			members = append(members, im.Member{UserID: m.UserIds[0]})
		}
	}
	return members, nil
}

// staysWith returns those stays that hold an event.
func staysWith(members []im.Member, seq int64) []im.Member {
	holding := make([]im.Member, 0, len(members))
	for _, m := range members {
		if m.JoinedSeq <= seq && seq <= m.LeftSeq {
			holding = append(holding, m)
		}
	}
	return holding
}

// routesOf sorts recipients by the partitions of their inboxes, each once.
func routesOf(recipients []im.Member, partitions int) []route {
	routes := make([]route, 0, min(len(recipients), partitions))
	seen := make(map[string]bool, len(recipients))
	for _, m := range recipients {
		if seen[m.UserID] {
			continue
		}
		seen[m.UserID] = true
		q := im.Partition(m.UserID, partitions)
		at := slices.IndexFunc(routes, func(r route) bool { return r.partition == q })
		if at < 0 {
			at = len(routes)
			routes = append(routes, route{partition: q})
		}
		routes[at].userIDs = append(routes[at].userIDs, m.UserID)
	}
	return routes
}

// loadStays asks the store who were members at the events of groups that are repeats:
// some may have left since.
func (s *sequencer) loadStays(ctx context.Context, events []*pending) error {
	for _, p := range events {
		if !p.repeat || p.stays != nil || p.conversation.Type != im.Group {
			continue
		}
		stays, err := s.store.StaysAt(ctx, im.EventRef{ConversationID: p.event.ConversationID, Seq: p.event.Seq})
		if err != nil {
			return fmt.Errorf("load the members at an event: %w", err)
		}
		p.stays = stays
	}
	return nil
}
