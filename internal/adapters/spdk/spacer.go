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

// spacer is an empty snapshot of the size of an lvol, on what that is to hang on:
// a parent of another size, which a target refuses, or nothing. The lvol is grafted
// onto it, and it is deleted; its only clone then hangs on what it hung on.
type spacer struct {
	made helpers
	uuid string
	name string
	rest string // of what it was made from, which hangs on it
}

// newSpacer makes a spacer of that size on the parent, whose lock must be held; "": on
// nothing. name draws names for helpers. Where it fails nothing of it is left.
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
	slices.Reverse(s.made.made) // the rest hangs on the spacer: parents before children
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

// pass grafts the child onto the spacer, and deletes that: the child has what the
// spacer hung on for a parent. Nothing of the spacer is left, whatever comes of it.
func (s *spacer) pass(ctx context.Context, child string) error {
	l := s.made.lvols
	defer s.made.tidy(ctx)
	// The delete of a clone locks the clone alone, set_parent the child and the
	// parent (spdk_bs_delete_blob and bs_set_parent in blobstore.c), so the two
	// share a round trip, and the look at the spacer, too, which may find it with
	// either of them on it, both or neither. The spacer may go when it has the child
	// alone; a target refuses to delete what has two clones.
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
	// A delete by another process would have been busy meanwhile, and would have hidden
	// the child: see deleteSnapshot for what comes of a spacer then.
	if _, err := l.Find(ctx, child); err != nil {
		return fmt.Errorf("what was grafted: %w", err)
	}
	if err := rpc.WhileBusy(ctx, func() error { return l.deleteNow(ctx, s.uuid) }); err != nil {
		return err
	}
	s.made.keep(s.uuid)
	return nil
}

// ownsNothing makes sure that a spacer has no clusters, which would merge into the
// lvol that is grafted over it.
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
