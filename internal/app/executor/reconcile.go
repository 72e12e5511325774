package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// reconcile finds out whether an operation whose answer was lost took effect, and adopts
// its result.
func (x *Executor) reconcile(ctx context.Context, s *step) (done bool, err error) {
	if look := verbs[s.Verb].reconcile; look != nil {
		return look(x, ctx, s)
	}
	return false, nil
}

// reconcileDelete lists the whole store. One lvol that is not found may be the failure
// itself, and a delete that counts as done is not repeated.
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
	x.created(s.Target, made.UUID)
	return true, nil
}

// reconcileSeal adopts a snapshot with the final name if the in-flight lvol has become it:
// that lvol is gone, or is its clone. Any other lvol of that name (an image of another
// run) is left to the next attempt.
func (x *Executor) reconcileSeal(ctx context.Context, s *step) (done bool, err error) {
	sealed, err := x.named(ctx, s.Name)
	if sealed == nil || err != nil {
		return false, err
	}
	made := x.refs.copies.Get(s.Target)
	filledLvol, err := x.Host.Look(ctx, made.uuid)
	remains := err == nil
	switch {
	case errors.Is(err, ports.ErrNotFound):
	case err != nil:
		return false, err
	case filledLvol.Parent != sealed.UUID:
		return false, nil
	case filledLvol.Own.Count > 0:
		return false, fmt.Errorf("%w: %w: something wrote to the lvol after it had become %s", ErrPlanAgain, ports.ErrCorrupt, s.Name)
	}
	if !sealed.ReadOnly || sealed.Own.Count != made.planned.Clusters || sealed.Parent != x.refs.uuid(s.Parent) {
		return false, fmt.Errorf("%w: %s was sealed with %d clusters of its own instead of %d, or under another parent", ErrPlanAgain, s.Name, sealed.Own.Count, made.planned.Clusters)
	}
	if remains {
		// The seal was interrupted before it could delete the rest of the lvol.
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
		return false, fmt.Errorf("%w: head %s exists with another parent, size or content", ErrPlanAgain, s.Name)
	}
	x.setMade(s.Target, head.UUID)
	return true, nil
}

// named returns the store's lvol of that name, or nil.
func (x *Executor) named(ctx context.Context, name string) (*domain.Lvol, error) {
	listing, err := x.Host.List(ctx)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(listing.Lvols, func(l domain.Lvol) bool { return l.Name == name }); i >= 0 {
		return &listing.Lvols[i], nil
	}
	return nil, nil
}
