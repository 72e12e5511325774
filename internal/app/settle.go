package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// settle finds out whether an operation whose answer was lost has taken
// effect, by looking at the store, and takes up what it has made. A copy, a
// graft and a record can simply be done again.
func (x *execution) settle(ctx context.Context, o domain.Operation) (done bool, err error) {
	switch o.Verb {
	case domain.VerbCreate:
		return x.settleCreate(ctx, o)
	case domain.VerbSeal:
		return x.settleSeal(ctx, o)
	case domain.VerbClone:
		return x.settleClone(ctx, o)
	case domain.VerbDelete:
		return x.settleDelete(ctx, o)
	}
	return false, nil
}

// settleDelete looks at all of the store: that one lvol is not found can be the
// failure itself, and what is taken for deleted is not asked for again.
func (x *execution) settleDelete(ctx context.Context, o domain.Operation) (done bool, err error) {
	store, err := x.request.Destination.Host.List(ctx)
	if err != nil {
		return false, err
	}
	uuid := x.uuid(o.Target)
	return !slices.ContainsFunc(store.Lvols, func(l domain.Lvol) bool { return l.UUID == uuid }), nil
}

func (x *execution) settleCreate(ctx context.Context, o domain.Operation) (done bool, err error) {
	made, err := x.named(ctx, x.drawName(o.Target))
	if made == nil || err != nil {
		return false, err
	}
	x.made(o.Target, made.UUID)
	return true, nil
}

// settleSeal: a snapshot of the final name is ours if the lvol in flight has
// become it: is gone, or hangs on it. Another one of that name (an image that
// somebody else has brought) is met by the next attempt.
func (x *execution) settleSeal(ctx context.Context, o domain.Operation) (done bool, err error) {
	sealed, err := x.named(ctx, o.Name)
	if sealed == nil || err != nil {
		return false, err
	}
	host, began := x.request.Destination.Host, x.begunAs(o.Target)
	uuid := began.copy
	rest, err := host.Look(ctx, uuid)
	remains := err == nil
	switch {
	case errors.Is(err, ports.ErrNotFound):
	case err != nil:
		return false, err
	case rest.Parent != sealed.UUID:
		return false, nil
	case rest.Own.Count > 0:
		return false, fmt.Errorf("%w: %w: something was written into the lvol after it had become %s", errPlanAgain, ports.ErrCorrupt, o.Name)
	}
	if !sealed.ReadOnly || sealed.Own.Count != began.planned.Clusters || sealed.Parent != x.uuid(o.Parent) {
		return false, fmt.Errorf("%w: %s was sealed with %d clusters of its own instead of %d, or under another parent", errPlanAgain, o.Name, sealed.Own.Count, began.planned.Clusters)
	}
	if remains {
		// The seal was interrupted before it could delete what is left of the lvol.
		if err := patiently(ctx, func() error { return host.Delete(ctx, uuid) }); err != nil && !errors.Is(err, ports.ErrNotFound) {
			return false, err
		}
	}
	return true, x.wasSealed(ctx, o, sealed.UUID, sealed.Own.Count)
}

func (x *execution) settleClone(ctx context.Context, o domain.Operation) (done bool, err error) {
	head, err := x.named(ctx, o.Name)
	if head == nil || err != nil {
		return false, err
	}
	if head.ReadOnly || head.Parent != x.uuid(o.Parent) || head.Size != o.Size || head.Own.Count > 0 {
		return false, fmt.Errorf("%w: there is a head %s that is not the one that was asked for", errPlanAgain, o.Name)
	}
	x.made(o.Target, head.UUID)
	return true, nil
}

// named is the destination's lvol of that name; nil: there is none.
func (x *execution) named(ctx context.Context, name string) (*domain.Lvol, error) {
	store, err := x.request.Destination.Host.List(ctx)
	if err != nil {
		return nil, err
	}
	for i := range store.Lvols {
		if store.Lvols[i].Name == name {
			return &store.Lvols[i], nil
		}
	}
	return nil, nil
}
