package workload

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// action is what a device does at a step of its script.
type action string

// The actions of a script.
const (
	send       action = "send"
	sendHTTP   action = "send by HTTP"
	loseAck    action = "send, and break off before the ack"
	repeat     action = "send again what was acknowledged"
	repeatHTTP action = "the same by HTTP"
	read       action = "mark as read"
	cut        action = "break the connection"
	leave      action = "close the connection"
	move       action = "connect again, over the old connection"
	forget     action = "come back without last_seq"
	stall      action = "read nothing for a while"
	withhold   action = "acknowledge nothing for a while"
	refresh    action = "get new tokens"
	alter      action = "recall or edit a message"
	change     action = "change a group's members" // by its owner's first device
)

// mishaps says how often which one happens, against the others.
var mishaps = []struct {
	do     action
	weight int
}{
	{sendHTTP, 3}, {loseAck, 4}, {repeat, 4}, {repeatHTTP, 2}, {read, 8}, {cut, 4}, {leave, 3}, {move, 3}, {forget, 2},
	{stall, 3}, {withhold, 3}, {refresh, 1},
}

// step is one action of a script. Fields that it does not need are zero.
type step struct {
	at     time.Duration // since the load began
	do     action
	number uint32        // of the message that is sent for the first time here, from 1
	lane   int           // whom to: index into the user's contacts and then groups; change: which group
	guest  int           // change: who comes or goes
	size   int           // of its text, bytes
	span   time.Duration // how long
}

// script makes a device's script: from the seed and the device's index alone.
func (c *Config) script(device int) []step {
	dice := rand.New(rand.NewPCG(c.Seed, uint64(device)))
	lanes := len(c.contacts(device/c.Devices)) + len(c.memberships(device/c.Devices))
	steps := c.moments(dice, float64(c.Users*c.Devices)/c.Rate, func() step { return step{do: send} })
	steps = append(steps, c.moments(dice, c.Mishaps.Seconds(), func() step { return c.mishap(dice) })...)
	altering := rand.New(rand.NewPCG(c.Seed, 1<<35+uint64(device)))
	steps = append(steps, c.moments(altering, 4*c.Mishaps.Seconds(), func() step { return step{do: alter} })...)
	if device%c.Devices == 0 {
		steps = append(steps, c.changes(dice, device/c.Devices)...)
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	number := uint32(0)
	for i := range steps {
		if s := &steps[i]; s.do == send || s.do == sendHTTP || s.do == loseAck {
			number++
			s.number, s.lane, s.size = number, dice.IntN(lanes), size(dice)
		}
	}
	return steps
}

// moments makes steps at random times with a mean gap in seconds.
func (c *Config) moments(dice *rand.Rand, gap float64, make func() step) []step {
	var steps []step
	for at := dice.ExpFloat64() * gap; at < c.Duration.Seconds(); at += dice.ExpFloat64() * gap {
		s := make()
		s.at = time.Duration(at * float64(time.Second))
		steps = append(steps, s)
	}
	return steps
}

// mishap draws one. Absences are mostly short and now and then long, to a quarter of
// the run.
func (c *Config) mishap(dice *rand.Rand) step {
	sum := 0
	for _, m := range mishaps {
		sum += m.weight
	}
	at, i := dice.IntN(sum), 0
	for ; at >= mishaps[i].weight; i++ {
		at -= mishaps[i].weight
	}
	longest := min(c.Duration/4, 10*time.Second)
	span := min(time.Duration(dice.ExpFloat64()*float64(300*time.Millisecond)), longest)
	if dice.IntN(8) == 0 {
		span = time.Duration(dice.Int64N(int64(longest) + 1))
	}
	return step{do: mishaps[i].do, span: span}
}

// size draws the size of a text: most are short.
func size(dice *rand.Rand) int {
	switch n := dice.IntN(1000); {
	case n == 0:
		return 4<<10 + dice.IntN(36<<10)
	case n < 20:
		return 300 + dice.IntN(4<<10)
	}
	return smallestText + dice.IntN(200)
}

// contacts returns whom a user talks to, by index: to itself, to the neighbours, and
// to two others.
func (c *Config) contacts(user int) []int {
	dice := rand.New(rand.NewPCG(c.Seed, 1<<32+uint64(user)))
	contacts := []int{user}
	for _, other := range []int{user + 1, user - 1 + c.Users, dice.IntN(c.Users), dice.IntN(c.Users)} {
		if other %= c.Users; !slices.Contains(contacts, other) {
			contacts = append(contacts, other)
		}
	}
	return contacts
}
