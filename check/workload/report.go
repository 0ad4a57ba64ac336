package workload

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
)

// Report is what a run came to.
type Report struct {
	Config      Config          `json:"config"`
	Run         string          `json:"run"`
	Begun       time.Time       `json:"begun"`    // of the load
	From        time.Duration   `json:"from_ns"`  // of the load, since the start of the run, as all times
	Until       time.Duration   `json:"until_ns"` // of the load
	Attempts    int             `json:"attempts"` // sends with their repeats
	Actions     map[action]int  `json:"actions"`  // of the scripts
	Sessions    map[string]int  `json:"sessions"` // by transport and form
	Disconnects map[string]int  `json:"disconnects"`
	Refusals    map[im.Code]int `json:"refusals"`
	Faults      []check.Fault   `json:"faults"`
	*check.Timeline
	Undecided []string      `json:"undecided"` // why the verdict does not hold for all
	Verdict   check.Verdict `json:"verdict"`
}

// Outcome is what a run says of the system.
type Outcome int

// The outcomes. They are the exit status of im check.
const (
	Kept      Outcome = iota // every promise was kept
	Broken                   // at least one was not
	Undecided                // none was seen to be broken, but not everything could be seen
)

// Outcome returns what the run says.
func (r *Report) Outcome() Outcome {
	switch {
	case !r.Verdict.OK():
		return Broken
	case len(r.Undecided) > 0:
		return Undecided
	}
	return Kept
}

// String is the outcome in a word or two.
func (o Outcome) String() string {
	return [...]string{"every promise kept", "PROMISES BROKEN", "UNDECIDED"}[o]
}

// fault notes a fault that was reported, at its place in time.
func (r *Report) fault(of *run, mark Mark) {
	fault := check.Fault{Kind: mark.Kind, Target: mark.Target, At: mark.At.Sub(of.begun), Until: mark.Until.Sub(of.begun)}
	at, _ := slices.BinarySearchFunc(r.Faults, fault.At, func(f check.Fault, at time.Duration) int { return int(f.At - at) })
	r.Faults = slices.Insert(r.Faults, at, fault)
}

// judge gathers what the devices have seen and done. All of them have ended.
func (r *Report) judge(of *run, unread map[*user]error) {
	all := newTally()
	for _, d := range of.devices {
		all.add(d.tally)
		r.caughtUp(of, d)
	}
	for _, u := range of.users {
		if err := unread[u]; err != nil {
			r.Undecided = append(r.Undecided, err.Error())
			continue
		}
		u.witness.recorded.CaughtUp()
	}
	r.Attempts, r.Actions, r.Sessions, r.Disconnects, r.Refusals = all.attempts, all.actions, all.sessions, all.disconnects, all.refused
	of.settleGroups()
	of.settleAlterations()
	r.Timeline = check.Measure(of.history)
	r.Recoveries(r.Faults, r.From, r.Until)
	r.Verdict = check.Judge(of.history)
	if r.Verdict.Acknowledged == 0 {
		r.Undecided = append(r.Undecided, "nothing was acknowledged")
	}
}

// caughtUp says whether a device had every chance to receive everything: one that
// could not connect at the end had not, and what it lacks proves nothing.
func (r *Report) caughtUp(of *run, d *device) {
	if !d.present {
		r.Undecided = append(r.Undecided, fmt.Sprintf("%s/%s could not connect at the end", d.user.id, d.id))
		return
	}
	d.recorded.CaughtUp()
	for _, l := range d.lanes {
		for _, m := range l.waiting {
			d.log.GaveUp(of.now(), m.number)
		}
	}
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// row is a line of the table.
type row struct{ Name, Value string }

// rows returns what the table and the page show.
func (r *Report) rows() []row {
	var rows []row
	add := func(name, format string, args ...any) { rows = append(rows, row{name, fmt.Sprintf(format, args...)}) }
	c := &r.Config
	add("run", "%s, seed %d, %s", r.Run, c.Seed, r.Begun.UTC().Format(time.RFC3339))
	add("workload", "%d users, %d devices each, %d groups, %s at %g messages/s, a mishap every %s on each device", c.Users, c.Devices, max(0, c.Groups), c.Duration, c.Rate, c.Mishaps)
	add("messages", "%d sent in %d attempts, %d acknowledged, %d refused for good, %d entries delivered",
		r.Verdict.Sent, r.Attempts, r.Verdict.Acknowledged, r.Verdict.Refused, r.Verdict.Delivered)
	add("ack", "%s", latency(r.Ack))
	add("delivery", "%s", latency(r.Delivery))
	addCounts(add, "sessions", r.Sessions)
	addCounts(add, "sessions lost", r.Disconnects)
	addCounts(add, "refusals", r.Refusals)
	addCounts(add, "script", r.Actions)
	for _, f := range r.harm(byKind) {
		add("faults", "%d %s, away for %s, at most %s: %s", f.Count, f.Name, f.Away.P50, f.Away.Max, f.Back())
	}
	for _, why := range r.Undecided {
		add("undecided", "%s", why)
	}
	return rows
}

func addCounts[K ~string](add func(string, string, ...any), name string, counts map[K]int) {
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		add(name, "%d %s", counts[key], key)
	}
}

func latency(l check.Latency) string {
	return fmt.Sprintf("p50 %.1f  p99 %.1f  max %.1f ms (%d)", l.P50, l.P99, l.Max, l.Count)
}

// WriteText writes the report as a table, and the verdict.
func (r *Report) WriteText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	last := ""
	for _, row := range r.rows() {
		name := row.Name
		if name == last {
			name = ""
		}
		last = row.Name
		fmt.Fprintf(table, "%s\t%s\n", name, row.Value)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := r.Verdict.WriteText(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "outcome: %s\n", r.Outcome())
	return err
}
