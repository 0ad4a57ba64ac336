package workload

import (
	"math/rand/v2"
	"slices"
)

// The sizes of groups: the least that has somebody who comes and goes, the most, and
// of these who come and go.
const (
	leastCircle = 3
	mostCircle  = 8
	mostGuests  = 2
)

// circle is who is in a group, by index. The first member has made it, and changes who
// is in.
type circle struct {
	members []int // for good
	guests  []int // come and go, and only listen: what they say might be refused at first, and stored when it is sent again
}

// circle makes one of the run's groups: of neighbours, who also talk to each other.
func (c *Config) circle(group int) circle {
	dice := rand.New(rand.NewPCG(c.Seed, 1<<34+uint64(group)))
	size := min(c.Users, mostCircle)
	all := make([]int, size)
	first := dice.IntN(c.Users)
	for i := range all {
		all[i] = (first + i) % c.Users
	}
	guests := min(mostGuests, size-2)
	return circle{members: all[:size-guests], guests: all[size-guests:]}
}

// memberships returns the groups that a user is in for good.
func (c *Config) memberships(user int) []int {
	var groups []int
	for group := range max(0, c.Groups) {
		if slices.Contains(c.circle(group).members, user) {
			groups = append(groups, group)
		}
	}
	return groups
}

// changes makes the steps by which a user changes who is in the user's own groups.
func (c *Config) changes(dice *rand.Rand, user int) []step {
	var steps []step
	for _, group := range c.memberships(user) {
		if of := c.circle(group); of.members[0] == user {
			steps = append(steps, c.moments(dice, c.Mishaps.Seconds(), func() step {
				return step{do: change, lane: group, guest: dice.IntN(len(of.guests))}
			})...)
		}
	}
	return steps
}
