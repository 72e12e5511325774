package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// reconcile finds out whether an operation whose answer was lost has taken effect, by a
// look at the store, and takes up what it has made.
func (x *Executor) reconcile(ctx context.Context, s *step) (done bool, err error) {
	if look := verbs[s.Verb].reconcile; look != nil {
		return look(x, ctx, s)
	}
	return false, nil
}

// reconcileDelete looks at all of the store: that one lvol is not found can be the failure
// itself, and a delete that is taken for done is not asked for again.
func (x *Executor) reconcileDelete(ctx context.Context, s *step) (done bool, err error) {
	listing, err := x.Host.List(ctx)
	if err != nil {
		return false, err
	}
	uuid := x.refs.uuid(s.Target)
	return !slices.ContainsFunc(listing.Lvols, func(l domain.Lvol) bool { return l.UUID == uuid }), nil
}

func (x *Executor) reconcileCreate(ctx context.Context, s *step) (done bool, err error) {
	made, err := x.named(ctx, x.refs.name(s.Target))
	if made == nil || err != nil {
		return false, err
	}
	x.setMade(s.Target, made.UUID)
	return true, nil
}

// reconcileSeal: a snapshot of the final name is ours if the lvol in flight has become it:
// is gone, or is its clone. Another one of that name (an image that somebody else has
// brought) is met by the next attempt.
func (x *Executor) reconcileSeal(ctx context.Context, s *step) (done bool, err error) {
	sealed, err := x.named(ctx, s.Name)
	if sealed == nil || err != nil {
		return false, err
	}
	made := x.refs.copyOf(s.Target)
	filledLvol, err := x.Host.Look(ctx, made.uuid)
	remains := err == nil
	switch {
	case errors.Is(err, ports.ErrNotFound):
	case err != nil:
		return false, err
	case filledLvol.Parent != sealed.UUID:
		return false, nil
	case filledLvol.Own.Count > 0:
		return false, fmt.Errorf("%w: %w: something was written into the lvol after it had become %s", ErrPlanAgain, ports.ErrCorrupt, s.Name)
	}
	if !sealed.ReadOnly || sealed.Own.Count != made.planned.Clusters || sealed.Parent != x.refs.uuid(s.Parent) {
		return false, fmt.Errorf("%w: %s was sealed with %d clusters of its own instead of %d, or under another parent", ErrPlanAgain, s.Name, sealed.Own.Count, made.planned.Clusters)
	}
	if remains {
		// The seal was interrupted before it could delete what is left of the lvol.
		if err := x.Host.Delete(ctx, made.uuid); err != nil && !errors.Is(err, ports.ErrNotFound) {
			return false, err
		}
	}
	return true, x.finishSeal(ctx, s, sealed.UUID, sealed.Own.Count)
}

func (x *Executor) reconcileClone(ctx context.Context, s *step) (done bool, err error) {
	head, err := x.named(ctx, s.Name)
	if head == nil || err != nil {
		return false, err
	}
	if head.ReadOnly || head.Parent != x.refs.uuid(s.Parent) || head.Size != s.Size || head.Own.Count > 0 {
		return false, fmt.Errorf("%w: there is a head %s that is not the one that was asked for", ErrPlanAgain, s.Name)
	}
	x.setMade(s.Target, head.UUID)
	return true, nil
}

// named is the store's lvol of that name; nil: there is none.
func (x *Executor) named(ctx context.Context, name string) (*domain.Lvol, error) {
	listing, err := x.Host.List(ctx)
	if err != nil {
		return nil, err
	}
	for i := range listing.Lvols {
		if listing.Lvols[i].Name == name {
			return &listing.Lvols[i], nil
		}
	}
	return nil, nil
}
