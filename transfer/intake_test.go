package transfer

import (
	"context"
	"errors"
	"testing"

	"github.com/im-transfer/im"
)

// scripted is a consumer that has had given items in it all along.
type scripted struct {
	items    []im.Delivery
	received int
}

var errEmpty = errors.New("nothing is left")

func (s *scripted) Receive(_ context.Context, limit int) ([]im.Delivery, error) {
	n := min(limit, len(s.items)-s.received)
	if n == 0 {
		return nil, errEmpty
	}
	batch := s.items[s.received : s.received+n]
	s.received += n
	return batch, nil
}

func (s *scripted) Ack(uint64) error { return nil }

func (s *scripted) Close() error { return nil }

// However much has gathered in a partition, a batch of it is bounded by bytes;
// every item comes once, in order, and no batch is a small rest.
func TestBatchesAreBoundedByBytes(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int // of the items
		want  []int // items of each batch
	}{
		{"all fits", []int{10, 20, 30}, []int{3}},
		{"even parts instead of a rest", []int{30, 30, 30, 30}, []int{2, 2}},
		{"a large item takes the rest of its batch", []int{10, 500, 10, 10}, []int{2, 2}},
		{"no more than was asked for at once", []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, []int{8, 2}},
		{"empty items move on too", []int{0, 0, 0}, []int{3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := &scripted{}
			for i, size := range c.sizes {
				script.items = append(script.items, im.Delivery{Tag: uint64(i + 1), Body: make([]byte, size)})
			}
			in := &intake{consumer: script, items: 8, bytes: 100}
			last := uint64(0)
			for _, want := range c.want {
				batch, err := in.next(t.Context())
				if err != nil || len(batch) != want {
					t.Fatalf("a batch of %d items, error %v; want %d", len(batch), err, want)
				}
				for _, item := range batch {
					if last++; item.Tag != last {
						t.Fatalf("item %d comes where %d should", item.Tag, last)
					}
				}
			}
			if _, err := in.next(t.Context()); !errors.Is(err, errEmpty) {
				t.Errorf("behind the last item comes %v", err)
			}
		})
	}
}

// Who is told to stop gets no further batch, whatever has been received already.
func TestIntakeEndsWithItsContext(t *testing.T) {
	in := &intake{consumer: &scripted{items: make([]im.Delivery, 4)}, items: 8, bytes: 2}
	ctx, cancel := context.WithCancel(t.Context())
	if batch, err := in.next(ctx); err != nil || len(batch) != 2 {
		t.Fatalf("a batch of %d items, error %v; want 2", len(batch), err)
	}
	cancel()
	if _, err := in.next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end comes %v", err)
	}
}
