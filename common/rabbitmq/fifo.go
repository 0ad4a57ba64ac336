package rabbitmq

// fifo is a line of things. The zero value is an empty one.
type fifo[T any] struct {
	things []T
	first  int // of things; those before it are zero
}

func (f *fifo[T]) len() int { return len(f.things) - f.first }

// at returns the i-th in the line, from 0.
func (f *fifo[T]) at(i int) *T { return &f.things[f.first+i] }

func (f *fifo[T]) push(thing T) {
	if f.first > 64 && f.first > len(f.things)/2 {
		n := copy(f.things, f.things[f.first:])
		clear(f.things[n:])
		f.things, f.first = f.things[:n], 0
	}
	f.things = append(f.things, thing)
}

func (f *fifo[T]) pop() T {
	var none T
	thing := f.things[f.first]
	f.things[f.first] = none
	if f.first++; f.first == len(f.things) {
		f.things, f.first = f.things[:0], 0
	}
	return thing
}
