package test

import (
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

// giveUp is how soon a transfer of these stories leaves its partitions to others. A
// call to the store that has begun would take ten times as long to end by itself.
const giveUp = time.Second

func givesUp(c *transfer.Config) { c.GiveUpAfter = giveUp }

// untilListed waits until exactly these transfers are listed, without a doubt.
func (p *pipeline) untilListed(ids ...string) {
	p.t.Helper()
	lists, err := p.registry.Watch(p.t.Context(), "transfer")
	must(p.t, err)
	late := time.After(20 * time.Second)
	for {
		select {
		case list := <-lists:
			got := make([]string, 0, len(list))
			for _, server := range list {
				if !server.Stranded {
					got = append(got, server.ID)
				}
			}
			if len(got) == len(list) && slices.Equal(got, ids) {
				return
			}
		case <-late:
			p.t.Fatalf("%v are not what is listed", ids)
		}
	}
}

// A transfer whose own way to the store is lost leaves its partitions to one that
// reaches it, breaks off what it had begun, and takes its share again when the way is
// back.
func TestATransferThatLosesItsStore(t *testing.T) {
	p := newPipeline(t)
	a, b := p.add("a", givesUp), p.add("b", givesUp)
	converse(t, p, 6, 60, []func(){
		func() {
			a.store.Away()
			began := time.Now()
			p.untilListed("b")
			if took := time.Since(began); took < giveUp || took > 5*giveUp {
				t.Errorf("it left after %s", took)
			}
			if a.server.Ready() == nil || b.server.Ready() != nil {
				t.Errorf("a is ready: %v, b: %v", a.server.Ready(), b.server.Ready())
			}
		},
		func() { // so many messages later: all partitions have an owner
			a.store.Back()
			p.untilListed("a", "b")
			if err := a.server.Ready(); err != nil {
				t.Errorf("a is not ready: %v", err)
			}
		},
	})
}

// While the store is away for all nobody leaves, for nobody could do more with the
// partitions; what must not be is that they are passed to and fro.
func TestNobodyLeavesWhenTheStoreIsAwayForAll(t *testing.T) {
	p := newPipeline(t)
	a, b := p.add("a", givesUp), p.add("b", givesUp)
	lists, err := p.registry.Watch(t.Context(), "transfer")
	must(t, err)
	converse(t, p, 3, 40, []func(){
		func() {
			a.store.Away()
			b.store.Away()
			doubts := staysListed(t, lists, 3*giveUp)
			if !doubts["a"] || !doubts["b"] {
				t.Errorf("those in doubt: %v", doubts)
			}
			a.store.Back()
			b.store.Back()
			p.untilListed("a", "b")
		},
	})
}

// staysListed makes sure that both transfers stay listed for a time, and returns who
// was in doubt.
func staysListed(t *testing.T, lists <-chan []im.Server, d time.Duration) map[string]bool {
	t.Helper()
	doubts := map[string]bool{}
	for over := time.After(d); ; {
		select {
		case list := <-lists:
			if len(list) != 2 {
				t.Fatalf("%v are left", list)
			}
			for _, server := range list {
				doubts[server.ID] = doubts[server.ID] || server.Stranded
			}
		case <-over:
			return doubts
		}
	}
}
