package transfer_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/im-transfer/im/common/queuetest"
	"github.com/im-transfer/im/common/storetest"
)

// The argument, as a test: whatever order requests, faults and owners come in, the
// promises hold. A script of steps is drawn, carried out by the pipeline itself on
// fakes that fail as engines do, and judged by what is in the store in the end and
// by what clients saw on the way. Time is synctest's, so that a script which fails
// fails again (but for the spread of pauses), and is made shorter until it says why.
//
//	model_test.go          what can happen: the script
//	model_system_test.go   the owners, one process or several on one store
//	model_faults_test.go   what stands between an owner and its store and queue
//	model_gateway_test.go  the gateway and the clients, which keep their side
//	model_judge_test.go    the promises
//
// go test ./transfer -run Model -rapid.checks=10000 looks longer.

// modelChecks is how many scripts each test draws unless -rapid.checks says
// otherwise.
const modelChecks = "30"

// checkModel draws scripts and carries them out. On one processor, so that what
// happens at the same time happens in the same order again.
func checkModel(t *testing.T, property func(*rapid.T)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	told := os.Getenv("RAPID_CHECKS") != ""
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "rapid.checks" })
	if !told {
		must(t, flag.Set("rapid.checks", modelChecks))
	}
	rapid.Check(t, property)
}

// what can happen in a step.
type what string

const (
	sends      what = "sends"
	resends    what = "resends all unanswered"
	retries    what = "retries"
	alters     what = "retries with other content"
	attaches   what = "attaches"
	detaches   what = "detaches"
	pulls      what = "pulls"
	acks       what = "acks"
	acksAsking what = "acks durably"
	reads      what = "reads"
	waits      what = "time passes"
	fails      what = "writes fail"
	slows      what = "writes take long"
	misfates   what = "publishes go wrong"
	confirms   what = "confirms are released"
	breaks     what = "a consumer is lost"
	kills      what = "an owner is killed"
	leaves     what = "an owner leaves"
	adds       what = "an owner is added"
	pauses     what = "an owner is paused"
	resumes    what = "a paused owner goes on"
	lags       what = "the majority lags"
	catchesUp  what = "the majority catches up"
	rollsBack  what = "the primary is lost"
)

// step is one thing that happens. Which of its numbers count, and of what they are
// an index, its what says.
type step struct {
	what
	who, whom, n int
	write        string
	fault        storetest.Fault
	fate         queuetest.Fate
	after        time.Duration // that passes before it
}

// GoString is a line of a script that is printed.
func (s step) GoString() string {
	return fmt.Sprintf("\n%v later: %s (who %d, whom %d, n %d, write %s, fault %d, fate %d)",
		s.after, s.what, s.who, s.whom, s.n, s.write, s.fault, s.fate)
}

var (
	talking = []what{
		sends, sends, sends, sends, sends, sends, sends, sends, resends, retries, alters, attaches, attaches, detaches, pulls,
		acks, acks, acksAsking, reads, reads, waits,
	}
	// What can go wrong with one process on one store with an outbox.
	ofOne = append([]what{fails, fails, slows, slows, misfates, confirms, kills, kills, leaves}, talking...)
	// What can go wrong with several on a store that several can share.
	ofMany = append([]what{
		fails, fails, slows, slows, misfates, misfates, confirms, breaks, breaks, kills, leaves, adds, pauses, pauses, resumes,
		lags, catchesUp, rollsBack,
	}, talking...)

	delays = []time.Duration{0, 0, 0, time.Millisecond, 5 * time.Millisecond, 60 * time.Millisecond, 700 * time.Millisecond}
	writes = []string{"InsertEvents", "CommitInbox", "InsertTerm", "Project"}
)

// script draws what happens. The system decides which faults it can have.
func script(t *rapid.T, from []what, faults []storetest.Fault, fates []queuetest.Fate) []step {
	one := rapid.Custom(func(t *rapid.T) step {
		return step{
			what:  rapid.SampledFrom(from).Draw(t, "what"),
			who:   rapid.IntRange(0, 3).Draw(t, "who"),
			whom:  rapid.IntRange(0, 2).Draw(t, "whom"),
			n:     rapid.IntRange(0, 5).Draw(t, "n"),
			write: rapid.SampledFrom(writes).Draw(t, "write"),
			fault: rapid.SampledFrom(faults).Draw(t, "fault"),
			fate:  rapid.SampledFrom(fates).Draw(t, "fate"),
			after: rapid.SampledFrom(delays).Draw(t, "after"),
		}
	})
	var all []step
	for part := range 6 { // rapid's slices are short, and get shorter one step at a time
		all = append(all, rapid.SliceOfN(one, 0, 16).Draw(t, fmt.Sprint("part ", part))...)
	}
	return all
}

// One process on a store with an outbox: the embedded drivers.
func TestModelOfOneOwner(t *testing.T) {
	checkModel(t, func(t *rapid.T) {
		// It has one copy: a row that refuses another is shown to whoever reads.
		steps := script(t, ofOne, []storetest.Fault{storetest.Refused, storetest.UnknownDone, storetest.UnknownLost},
			[]queuetest.Fate{queuetest.Delay})
		rapid.SyncTest(t, func(t *rapid.T) { newSystem(t, true).run(steps) })
	})
}

// Several owners on a store and a queue that they share: the distributed drivers.
func TestModelOfManyOwners(t *testing.T) {
	checkModel(t, func(t *rapid.T) {
		steps := script(t, ofMany,
			[]storetest.Fault{
				storetest.Refused, storetest.FalseDuplicate, storetest.UnknownDone, storetest.UnknownLost, storetest.UnknownHalf,
			},
			[]queuetest.Fate{queuetest.Lose, queuetest.Doubt, queuetest.Delay})
		rapid.SyncTest(t, func(t *rapid.T) { newSystem(t, false).run(steps) })
	})
}
