package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/deploy/local"
	"github.com/im-transfer/im/deploy/local/links"
)

func TestKillNineOfEachRole(t *testing.T) {
	for _, role := range local.Roles {
		t.Run(role, func(t *testing.T) {
			c := givenACluster(t)
			load := c.underLoad(t)
			victim := c.busiest(role)

			load.strikes(func() error { victim.Kill(); return nil })

			load.recovers()
			c.starts(t, victim)
			load.isJudged()
		})
	}
}

// A transfer that is paused for long wakes up believing that it owns what others
// own by then.
func TestAPausedTransfer(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)
	busiest := c.busiest("transfer")

	load.strikes(busiest.Pause)
	load.recovers()
	load.lasts(30*time.Second - time.Since(load.fault))
	must(t, busiest.Resume())

	load.untilFlowing()
	load.isJudged()
}

// A gateway that stands still holds up those alone who are connected to it: what waits
// for it in the transfers is bounded, and whoever asks for a server is sent elsewhere.
// When it goes on, what waited is delivered.
func TestAPausedGateway(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)
	paused := c.busiest("websocket")
	ann := c.givenUser(t, "ann").connects(c.Server("tcp", 1))
	bob := c.givenUser(t, "bob").connects(c.Server("tcp", 2))

	load.strikes(paused.Pause)
	slowest := time.Duration(0)
	for n := 1; time.Since(load.fault) < 2*leaseTTL; n++ {
		began := time.Now()
		_, err := ann.client.Send(t.Context(), to(bob), text(fmt.Sprint("while it stands still ", n)), client.SendOptions{})
		must(t, err)
		bob.receives(n)
		slowest = max(slowest, time.Since(began))
		load.lasts(50 * time.Millisecond)
	}
	for range 20 {
		gateway, err := ann.api.Gateway(t.Context(), client.WebSocket, nil)
		must(t, err)
		if gateway.URL == paused.URL() {
			t.Error("a gateway that has stood still for twice the TTL is given to clients")
		}
	}
	must(t, paused.Resume())
	load.outage = time.Since(load.fault)

	t.Logf("between others the slowest message took %.2f s meanwhile", slowest.Seconds())
	if slowest > leaseTTL/2 {
		t.Errorf("a message between others took %s", slowest)
	}
	load.recovers()
	load.isJudged()
}

func TestKillNineOfRabbitMQ(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)

	load.strikesFor(time.Second, func() error { c.RabbitMQ.Kill(); return nil }, func() error { return c.RabbitMQ.Start(t.Context()) })

	load.recovers()
	load.isJudged()
}

func TestKillNineOfEtcd(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)

	load.strikes(func() error { c.Etcd.Kill(); return c.Etcd.Start(t.Context()) })

	load.recovers()
	load.isJudged()
}

// Everything that runs goes on without etcd, and when it is back, its empty list of
// servers moves nothing.
func TestEtcdIsAwayForLong(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)

	load.strikes(c.Etcd.Stop)
	load.lasts(3 * leaseTTL)
	must(t, c.Etcd.Start(t.Context()))

	load.untilFlowing()
	load.lasts(leaseTTL)
	load.isJudged()
}

func TestMongoIsPaused(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)

	load.strikesFor(5*time.Second, c.Mongo.Pause, c.Mongo.Resume)

	load.recovers()
	load.isJudged()
}

func TestMongoIsCutOff(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)

	load.strikesFor(2*time.Second, c.harms("mongo", links.Fault{Cut: true}), c.harms("mongo", links.Fault{}))

	load.recovers()
	load.isJudged()
}

// A third transfer takes its share while messages flow, and gives it back.
func TestAThirdTransferComesAndGoes(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)
	third, err := c.Add("transfer")
	must(t, err)

	load.strikes(func() error { return third.Start(t.Context()) })
	load.recovers()
	before := cpu(t, third.PID())
	load.lasts(2 * time.Second)
	if cpu(t, third.PID()) == before {
		t.Error("the third transfer has nothing to do")
	}
	load.strikes(third.Stop)

	load.recovers()
	load.isJudged()
}

// Every server is restarted, one after the other, as an upgrade does.
func TestARollingRestart(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)
	for _, server := range c.Servers {
		if server.PID() == 0 {
			continue // the third transfer, which has gone
		}
		load.strikes(server.Stop)
		c.starts(t, server)
		load.untilFlowing()
	}
	load.isJudged()
}

// harms returns what puts a fault on all links of a part.
func (c *cluster) harms(part string, fault links.Fault) func() error {
	return func() error { c.SetLinks(part, fault); return nil }
}

// starts starts a server that was killed or stopped, for the story and those after.
func (c *cluster) starts(t *testing.T, server *local.Server) {
	t.Helper()
	must(t, server.Start(t.Context()))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// busiest returns the running server of a role that has worked most since it began:
// of transfers, the one with the busiest partitions.
func (c *cluster) busiest(role string) *local.Server {
	var busiest *local.Server
	most := -1
	for _, server := range c.Role(role) {
		if ticks, err := ticksOf(server.PID()); err == nil && ticks > most {
			busiest, most = server, ticks
		}
	}
	return busiest
}

func cpu(t *testing.T, pid int) int {
	t.Helper()
	ticks, err := ticksOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	return ticks
}

// ticksOf returns the CPU time of a process in the kernel's ticks.
func ticksOf(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("process %d: %q", pid, stat)
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return user + system, err
}
