package bench

import (
	"context"
	"fmt"

	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
)

// groupShape is Groups: some of the members of each group write to it as fast as their
// windows let them, and all get what is written.
type groupShape struct{ pairShape }

func (groupShape) users(config *Config) int { return config.Groups * config.Members }

func (groupShape) layout(ctx context.Context, r *run) error {
	groups := make([]int, r.config.Groups)
	for i := range groups {
		groups[i] = i
	}
	ids, conversations := make([]string, len(groups)), make([]string, len(groups))
	err := each(ctx, parallelHTTP, groups, func(ctx context.Context, i int) error {
		members := r.membersOf(i)
		others := make([]string, 0, len(members))
		for _, u := range members[1:] {
			others = append(others, u.id)
		}
		api := r.gateways.api().WithToken(members[0].devices[0].token)
		var err error
		if ids[i], conversations[i], err = api.CreateGroup(ctx, fmt.Sprintf("%s-group-%d", r.config.Prefix, i), others...); err != nil {
			return fmt.Errorf("make group %d: %w", i, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range groups {
		members := r.membersOf(i)
		ref := r.group(conversations[i], members)
		for _, u := range members[:r.config.Senders] {
			s := &stream{device: u.devices[0], to: client.ToGroup(ids[i]), conversation: ref, fanout: len(members) * r.config.Devices}
			if err := r.add(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) membersOf(group int) []*user {
	return r.users[group*r.config.Members : (group+1)*r.config.Members]
}

// group notes a group's conversation, which all are members of from its beginning.
func (r *run) group(conversation string, members []*user) check.ConversationRef {
	stays := make([]check.Stay, len(members))
	for i, u := range members {
		stays[i].UserID = u.id
	}
	ref := r.history.Conversation(conversation, stays...)
	r.conversations[conversation] = ref
	return ref
}
