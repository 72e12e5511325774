package spdk

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// spacer is an empty snapshot as long as an lvol that is to be grafted. Its parent is the
// one that the lvol is to have: one of another size, which a target refuses, or none.
// The lvol is grafted onto the spacer; then the spacer is deleted, and its only clone
// gets its parent.
type spacer struct {
	made helpers
	uuid string
	name string
	rest string // the lvol that it was made of, now its clone
}

// newSpacer makes a spacer of that size on the parent, whose lock must be held; "": on
// nothing. name draws names for helpers. If it fails, nothing is left of it.
func (l *lvols) newSpacer(ctx context.Context, name func() string, size uint64, parent string) (*spacer, error) {
	s := &spacer{made: helpers{lvols: l}}
	if err := s.make(ctx, name, size, parent); err != nil {
		s.made.tidy(ctx)
		return nil, err
	}
	return s, nil
}

func (s *spacer) make(ctx context.Context, name func() string, size uint64, parent string) (err error) {
	if s.rest, err = s.makeRest(ctx, name(), size, parent); err != nil {
		return err
	}
	s.name = name()
	s.uuid, err = s.made.lvols.freeze(ctx, s.rest, s.name, nil)
	_, err = s.made.note(s.name, s.uuid, err)
	slices.Reverse(s.made.made) // parents before children: the rest is the spacer's clone
	return err
}

// makeRest makes the empty writable lvol that becomes the spacer.
func (s *spacer) makeRest(ctx context.Context, name string, size uint64, parent string) (uuid string, err error) {
	l := s.made.lvols
	if parent == "" {
		uuid, err = l.create(ctx, name, size)
		return s.made.note(name, uuid, err)
	}
	mib, err := l.mebibytes(size)
	if err != nil {
		return "", err
	}
	if uuid, err = s.made.clone(ctx, parent, name); err != nil {
		return "", err
	}
	return uuid, l.resize(ctx, uuid, mib)
}

// graft grafts the child onto the spacer, and deletes the spacer. Nothing is left of the
// spacer, whether it fails or not.
func (s *spacer) graft(ctx context.Context, child string) error {
	l := s.made.lvols
	defer s.made.tidy(ctx)
	// The delete of a clone locks the clone alone, set_parent the child and the
	// parent (spdk_bs_delete_blob and bs_set_parent in blobstore.c), so the two
	// share a round trip with the look at the spacer, which may have either clone by
	// then, both or none. A target refuses to delete the spacer while it has two.
	var dropped, uneasy error
	var beside sync.WaitGroup
	beside.Go(func() { dropped = rpc.WhileBusy(ctx, func() error { return l.dropRest(ctx, s.rest, s.name) }) })
	beside.Go(func() { uneasy = s.ownsNothing(ctx) })
	grafted := l.setParent(ctx, child, s.uuid)
	beside.Wait()
	if dropped == nil {
		s.made.keep(s.rest)
	}
	if err := cmp.Or(grafted, dropped, uneasy); err != nil {
		return err
	}
	// If another process has tried to delete the child meanwhile, the child is hidden
	// now: see deleteSnapshot for what a delete of the spacer would do.
	if _, err := l.Find(ctx, child); err != nil {
		return fmt.Errorf("what was grafted: %w", err)
	}
	if err := rpc.WhileBusy(ctx, func() error { return l.deleteNow(ctx, s.uuid) }); err != nil {
		return err
	}
	s.made.keep(s.uuid)
	return nil
}

// ownsNothing makes sure that a spacer has no clusters, which would merge into the child.
func (s *spacer) ownsNothing(ctx context.Context) error {
	b, err := s.made.lvols.Find(ctx, s.uuid)
	if err != nil {
		return err
	}
	if own := b.Own(); own > 0 {
		return fmt.Errorf("spacer %s has %d clusters of its own, so something else has written to it: %w", b.LvolName(), own, ports.ErrInvalid)
	}
	return nil
}
