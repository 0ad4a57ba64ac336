package faults

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"
)

// Step is one fault of a schedule.
type Step struct {
	Fault
	Number int           // from 1
	Gap    time.Duration // from the step before it, or the schedule's begin, to this one at the earliest
	Hold   time.Duration // from done until it is mended
}

// String is the step as a line of a plan.
func (s Step) String() string {
	return fmt.Sprintf("%4d  +%6.3fs  %-14s %-14s for %.3fs", s.Number, s.Gap.Seconds(), s.Kind, s.Target, s.Hold.Seconds())
}

// stream is the seed's random numbers that are the schedule's: a workload with the
// same seed uses those below it.
const stream = 1 << 40

// Schedule deals the faults out, made of the seed and the set alone and without end.
// It goes like cards: no kind comes again before every other has, and no target of a
// kind before every other of that kind. A gap is on average as long as every.
func (s Set) Schedule(seed uint64, every time.Duration) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		if len(s) == 0 {
			return
		}
		dealer := newDealer(s, rand.New(rand.NewPCG(seed, stream)))
		for number := 1; ; number++ {
			fault := dealer.deal()
			step := Step{Fault: fault, Number: number, Gap: dealer.gap(every), Hold: dealer.hold(&fault)}
			if !yield(step) {
				return
			}
		}
	}
}

// dealer deals a set's faults.
type dealer struct {
	dice    *rand.Rand
	kinds   deck[string]
	targets map[string]*deck[Fault] // by kind
	recent  []Fault                 // the last ones, which may not be mended yet
}

// recently is how many faults a dealer takes for not yet mended.
const recently = 3

func newDealer(set Set, dice *rand.Rand) *dealer {
	d := &dealer{dice: dice, kinds: deck[string]{all: set.Kinds()}, targets: map[string]*deck[Fault]{}}
	for _, fault := range set {
		if d.targets[fault.Kind] == nil {
			d.targets[fault.Kind] = &deck[Fault]{}
		}
		of := d.targets[fault.Kind]
		of.all = append(of.all, fault)
	}
	return d
}

// deal returns the next fault: one that waits for none of the last to be mended, if
// there is any whose turn it is.
func (d *dealer) deal() Fault {
	free := func(f Fault) bool {
		return !slices.ContainsFunc(d.recent, func(other Fault) bool { return f.clashes(other.Parts) })
	}
	kind := d.kinds.deal(d.dice, func(kind string) bool { return d.targets[kind].has(d.dice, free) })
	fault := d.targets[kind].deal(d.dice, free)
	d.recent = append(d.recent[max(0, len(d.recent)+1-recently):], fault)
	return fault
}

// clashes reports whether a fault shares one of the parts.
func (f *Fault) clashes(parts []string) bool {
	return slices.ContainsFunc(f.Parts, func(part string) bool { return slices.Contains(parts, part) })
}

func (d *dealer) gap(every time.Duration) time.Duration {
	return time.Duration((0.5 + d.dice.Float64()) * float64(every))
}

func (d *dealer) hold(of *Fault) time.Duration {
	share := d.dice.Float64()
	return of.Least + time.Duration(share*share*float64(of.Most-of.Least))
}

// deck deals all of its cards before any of them again.
type deck[T any] struct {
	all, left []T
}

// shuffle makes a new round where the last is over.
func (d *deck[T]) shuffle(dice *rand.Rand) {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.all)
		dice.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
}

// has reports whether a card is wanted that is still to be dealt in this round.
func (d *deck[T]) has(dice *rand.Rand, wanted func(T) bool) bool {
	d.shuffle(dice)
	return slices.ContainsFunc(d.left, wanted)
}

// deal takes the first card that is wanted, or the first if none is.
func (d *deck[T]) deal(dice *rand.Rand, wanted func(T) bool) T {
	d.shuffle(dice)
	i := max(0, slices.IndexFunc(d.left, wanted))
	card := d.left[i]
	d.left = slices.Delete(d.left, i, i+1)
	return card
}
