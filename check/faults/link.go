package faults

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/im-transfer/im/deploy/local"
	"github.com/im-transfer/im/deploy/local/links"
)

// The kinds that a link can suffer.
const (
	Cut        = "cut"         // connections are reset, and new ones refused
	BlackHole  = "black-hole"  // nothing passes, and nobody is told
	OneWay     = "one-way"     // what is sent arrives, nothing comes back
	Slow       = "slow"        // everything takes 50 to 150 ms more, each way
	Narrow     = "narrow"      // 64 KiB a second, each way
	LoseAnswer = "lose-answer" // what is asked for is done, and nobody is told
	Isolate    = "isolate"     // a black hole around a server or an engine
)

// ofLinks returns what can be done to the links of a cluster; nothing where it was
// started without. Who is silent for longer than the ttl is taken for dead by the
// others.
func ofLinks(c *local.Cluster, ttl time.Duration) Set {
	var set Set
	for _, link := range c.Links() {
		fault := func(kind string, what links.Fault) Fault {
			return Fault{
				Kind: kind, Target: link.From + ">" + link.To, Parts: ends(link), Least: ttl / 20, Most: 2 * ttl,
				Do: func(context.Context) (func(context.Context) error, error) {
					link.Set(what)
					return func(context.Context) error { link.Mend(); return nil }, nil
				},
			}
		}
		set = append(set,
			fault(Cut, links.Fault{Cut: true}),
			fault(BlackHole, links.BlackHole()),
			fault(OneWay, links.Fault{Back: links.Way{Held: true}}),
			fault(Slow, links.Both(links.Way{Delay: 50 * time.Millisecond, Jitter: 100 * time.Millisecond})),
			fault(Narrow, links.Both(links.Way{BytesPerSecond: 64 << 10})),
		)
		if link.To == local.PartMongo {
			set = append(set, fault(LoseAnswer, links.Fault{Lose: ttl / 20}))
		}
	}
	return append(set, isolations(c, ttl)...)
}

// isolations put a black hole around each part.
func isolations(c *local.Cluster, ttl time.Duration) Set {
	around := map[string][]string{} // the parts concerned, by part
	for _, link := range c.Links() {
		for _, part := range []string{link.From, link.To} {
			around[part] = append(around[part], ends(link)...)
		}
	}
	delete(around, local.PartClients)
	var set Set
	for part, parts := range around {
		slices.Sort(parts)
		set = append(set, Fault{
			Kind: Isolate, Target: part, Parts: slices.Compact(parts), Least: ttl / 20, Most: 2 * ttl,
			Do: func(context.Context) (func(context.Context) error, error) {
				c.SetLinks(part, links.BlackHole())
				return func(context.Context) error { c.SetLinks(part, links.Fault{}); return nil }, nil
			},
		})
	}
	slices.SortFunc(set, func(a, b Fault) int { return strings.Compare(a.Target, b.Target) })
	return set
}

// ends are the parts at a link's ends: the role of a server, or the engine's name.
func ends(link local.Link) []string {
	role := func(part string) string {
		name, _, _ := strings.Cut(part, "-")
		return name
	}
	return []string{role(link.From), role(link.To)}
}
