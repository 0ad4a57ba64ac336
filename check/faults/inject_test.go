package faults

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im/check/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plot is what steps do to a system that notes it. Times are seconds since the begin.
type plot struct {
	t     *testing.T
	begun time.Time
	marks []workload.Mark

	mu     sync.Mutex
	harmed int // now
	most   int // at once
}

// step makes one; mending takes a second.
func (p *plot) step(number int, gap, hold time.Duration, parts ...string) Step {
	return Step{Number: number, Gap: gap, Hold: hold, Fault: Fault{
		Kind: Kill, Target: parts[0], Parts: parts,
		Do: func(context.Context) (func(context.Context) error, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.harmed++
			p.most = max(p.most, p.harmed)
			return p.mend, nil
		},
	}}
}

func (p *plot) mend(ctx context.Context) error {
	select {
	case <-time.After(time.Second):
		p.mu.Lock()
		defer p.mu.Unlock()
		p.harmed--
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// inject does steps while a load of a minute runs.
func (p *plot) inject(ctx context.Context, lanes int, steps ...Step) error {
	p.begun = time.Now()
	loading, end := context.WithTimeout(ctx, time.Minute)
	defer end()
	marks := make(chan workload.Mark)
	done := make(chan error)
	go func() {
		defer close(marks)
		done <- Injector(slices.Values(steps), lanes)(ctx, loading.Done(), marks)
	}()
	for {
		select {
		case mark := <-marks:
			p.marks = append(p.marks, mark)
		case err := <-done:
			return err
		}
	}
}

// wasDone checks when each step was done and mended, in seconds.
func (p *plot) wasDone(want ...[2]int) {
	p.t.Helper()
	slices.SortFunc(p.marks, func(a, b workload.Mark) int { return a.At.Compare(b.At) })
	var got [][2]int
	for _, mark := range p.marks {
		got = append(got, [2]int{int(mark.At.Sub(p.begun).Seconds()), int(mark.Until.Sub(p.begun).Seconds())})
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("done and mended %v, want %v", got, want)
	}
	if p.harmed != 0 {
		p.t.Errorf("%d faults are not mended", p.harmed)
	}
}

const second = time.Second

func TestStepsComeInTheirOrder(t *testing.T) {
	for name, c := range map[string]struct {
		lanes int
		want  [][2]int
		most  int
	}{
		"one at a time":              {1, [][2]int{{1, 5}, {5, 9}, {9, 11}, {11, 13}}, 1},
		"two, but not of one part":   {2, [][2]int{{1, 5}, {2, 6}, {6, 8}, {7, 9}}, 2},
		"as many as there are":       {9, [][2]int{{1, 5}, {2, 6}, {6, 8}, {7, 9}}, 2},
		"no lanes are one, at least": {0, [][2]int{{1, 5}, {5, 9}, {9, 11}, {11, 13}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &plot{t: t}
				err := p.inject(t.Context(), c.lanes,
					p.step(1, second, 3*second, "http"), p.step(2, second, 3*second, "tcp", "transfer"),
					p.step(3, second, second, "transfer"), p.step(4, second, second, "etcd"))
				if err != nil {
					t.Fatal(err)
				}
				p.wasDone(c.want...)
				if p.most != c.most {
					t.Errorf("%d at once, want %d", p.most, c.most)
				}
			})
		})
	}
}

// What lasts when the load ends is mended then, and what waits is not begun.
func TestTheEndOfTheLoadMendsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plot{t: t}
		err := p.inject(t.Context(), 2, p.step(1, second, time.Hour, "http"), p.step(2, second, time.Hour, "tcp"), p.step(3, 0, 0, "etcd"))
		if err != nil {
			t.Fatal(err)
		}
		p.wasDone([2]int{1, 61}, [2]int{2, 61})
	})
}

func TestWhatCanNotBeDoneOrMendedEndsTheRun(t *testing.T) {
	broken := errors.New("no such process")
	for want, spoil := range map[string]func(*Step){
		"fault 2, kill of tcp: no such process": func(s *Step) {
			s.Do = func(context.Context) (func(context.Context) error, error) { return nil, broken }
		},
		"mend fault 2, kill of tcp: no such process": func(s *Step) {
			s.Do = func(context.Context) (func(context.Context) error, error) {
				return func(context.Context) error { return broken }, nil
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &plot{t: t}
			bad := p.step(2, second, second, "tcp")
			spoil(&bad)
			err := p.inject(t.Context(), 2, p.step(1, second, time.Hour, "http"), bad, p.step(3, time.Hour, 0, "etcd"))
			if !errors.Is(err, broken) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
			if took := time.Since(p.begun); took > 10*second {
				t.Errorf("known after %s", took)
			}
		})
	}
}

// Who gives the run up does not wait for anything to be mended.
func TestARunThatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*second)
		defer cancel()
		p := &plot{t: t}
		err := p.inject(ctx, 2, p.step(1, second, time.Hour, "http"), p.step(2, second, time.Hour, "tcp"))
		if took := time.Since(p.begun); !errors.Is(err, context.DeadlineExceeded) || took != 5*second {
			t.Errorf("%v after %s", err, took)
		}
	})
}
