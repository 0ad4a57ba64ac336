package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/im-transfer/im"
)

// A term gives ids for this long; it is extended when less than termSpare is left.
const (
	termRange = 60 * time.Second
	termSpare = 20 * time.Second
)

// errForeign: another owner holds the partition. Stand down: drop all caches and
// close the channel; if the partition is still assigned, take it anew.
var errForeign = errors.New("another owner holds the partition")

// term is an owner's hold on a partition: a row of terms inserted after the
// greatest, whose ceiling bounds the ids that may be given. Extending inserts our
// own term + 1, never the greatest + 1, so that a conflict shows another owner.
type term struct {
	store TermStore
	held  im.Term
	ids   *im.Snowflake
	now   func() time.Time
}

// takeTerm inserts the term after the partition's greatest.
func takeTerm(ctx context.Context, store TermStore, name, owner string, worker int, now func() time.Time) (*term, error) {
	for tried := int64(0); ; {
		last, err := store.LastTerm(ctx, name)
		if err != nil && !errors.Is(err, im.ErrNotFound) {
			return nil, fmt.Errorf("read the last term of %s: %w", name, err)
		}
		if last.Term+1 == tried { // a conflict that the majority does not show yet
			return nil, fmt.Errorf("take a term of %s: %w", name, im.ErrUnknown)
		}
		tried = last.Term + 1
		at := now().UnixMilli()
		floor := max(at, last.IDCeiling)
		next := im.Term{
			Partition: name, Term: last.Term + 1, Owner: owner, AtMs: at,
			IDCeiling: floor + termRange.Milliseconds(),
		}
		switch err := store.InsertTerm(ctx, next); {
		case err == nil:
			im.CrashPoint(im.CrashTermTaken)
			ids := im.NewSnowflake(worker, floor, next.IDCeiling, now)
			return &term{store: store, held: next, ids: ids, now: now}, nil
		case errors.Is(err, im.ErrDuplicate):
			continue // another was faster: the term after that is ours alone
		default:
			return nil, fmt.Errorf("take a term of %s: %w", name, err)
		}
	}
}

// ensure extends the term when its ids run out soon. errForeign: another owner has
// taken the partition.
func (t *term) ensure(ctx context.Context) error {
	if t.ids.Remaining() > termSpare {
		return nil
	}
	return t.extend(ctx)
}

func (t *term) extend(ctx context.Context) error {
	at := t.now().UnixMilli()
	if at > t.held.AtMs+time.Minute.Milliseconds() {
		// Others may have come and gone meanwhile, and their rows been pruned: our
		// own term + 1 shows nothing unless ours is still the greatest, or that is ours
		// too, by a former try whose outcome was not known.
		last, err := t.store.LastTerm(ctx, t.held.Partition)
		if err != nil {
			return fmt.Errorf("read the last term of %s: %w", t.held.Partition, err)
		}
		ours := last.Term == t.held.Term+1 && last.Owner == t.held.Owner
		if last.Term != t.held.Term && !ours {
			return errForeign
		}
	}
	next := t.held
	next.Term++
	next.AtMs = at
	next.IDCeiling = max(at, t.held.IDCeiling) + termRange.Milliseconds()
	err := t.store.InsertTerm(ctx, next)
	if errors.Is(err, im.ErrUnknown) || errors.Is(err, im.ErrDuplicate) {
		next, err = t.outcome(ctx, next, err)
	}
	if errors.Is(err, im.ErrDuplicate) {
		return errForeign
	}
	if err != nil {
		return fmt.Errorf("extend the term of %s: %w", t.held.Partition, err)
	}
	t.held = next
	t.ids.Raise(next.IDCeiling)
	return nil
}

// outcome finds out whose a term is that may be in, or that another stands in the
// way of: ours, as it was written now or by a former try whose outcome was not
// known; im.ErrDuplicate when it is another owner's; im.ErrUnknown when there is none
// yet that a majority shows, so that it can be inserted again.
func (t *term) outcome(ctx context.Context, next im.Term, cause error) (im.Term, error) {
	last, err := t.store.LastTerm(ctx, next.Partition)
	switch {
	case err != nil:
		return next, fmt.Errorf("read it back: %w", err)
	case last.Term == next.Term && last.Owner == next.Owner:
		return last, nil
	case last.Term < next.Term:
		return next, fmt.Errorf("%w: %v", im.ErrUnknown, cause) //nolint:errorlint // a conflict that nothing shows is none yet
	}
	return next, im.ErrDuplicate
}

// nextID returns the next id, extending the term when its ids are used up.
func (t *term) nextID(ctx context.Context) (int64, error) {
	for {
		id, err := t.ids.Next()
		if !errors.Is(err, im.ErrCeiling) {
			return id, err
		}
		if err := t.extend(ctx); err != nil {
			return 0, err
		}
	}
}
