package spdk

import (
	"cmp"
	"context"
	"fmt"
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
func (h *Host) newSpacer(ctx context.Context, name func() string, size uint64, parent string) (*spacer, error) {
	s := &spacer{made: helpers{host: h}}
	err := h.makeSpacer(ctx, s, name, size, parent)
	if err != nil {
		s.made.tidy(ctx)
		return nil, err
	}
	return s, nil
}

func (h *Host) makeSpacer(ctx context.Context, s *spacer, name func() string, size uint64, parent string) (err error) {
	if s.rest, err = h.makeRest(ctx, s, name(), size, parent); err != nil {
		return err
	}
	s.name = name()
	s.uuid, err = h.freeze(ctx, s.rest, s.name, nil)
	switch {
	case rpc.OutcomeUnknown(err):
		s.made.addBelow(h.store.Alias(s.name))
	case err == nil:
		s.made.addBelow(s.uuid)
	}
	return err
}

// makeRest makes the empty writable lvol that becomes the spacer.
func (h *Host) makeRest(ctx context.Context, s *spacer, name string, size uint64, parent string) (uuid string, err error) {
	if parent == "" {
		return s.made.note(name, func() (string, error) { return h.create(ctx, name, size) })
	}
	mib, err := h.mebibytes(size)
	if err != nil {
		return "", err
	}
	if uuid, err = s.made.clone(ctx, parent, name); err != nil {
		return "", err
	}
	return uuid, h.resize(ctx, uuid, mib)
}

// passOver grafts the child onto the spacer, and deletes that: the child has what the
// spacer hung on for a parent. Nothing of the spacer is left, whatever comes of it.
func (h *Host) passOver(ctx context.Context, s *spacer, child string) error {
	defer s.made.tidy(ctx)
	// The delete of a clone locks the clone alone, set_parent the child and the
	// parent (spdk_bs_delete_blob and bs_set_parent in blobstore.c), so the two
	// share a round trip, and the look at the spacer, too, which may find it with
	// either of them on it, both or neither. The spacer may go when it has the child
	// alone; a target refuses to delete what has two clones.
	var dropped, uneasy error
	var beside sync.WaitGroup
	beside.Go(func() { dropped = rpc.WhileBusy(ctx, func() error { return h.dropRest(ctx, s.rest, s.name) }) })
	beside.Go(func() { uneasy = h.ownsNothing(ctx, s.uuid) })
	grafted := h.setParent(ctx, child, s.uuid)
	beside.Wait()
	if dropped == nil {
		s.made.keep(s.rest)
	}
	if err := cmp.Or(grafted, dropped, uneasy); err != nil {
		return err
	}
	// A delete by another process would have been busy meanwhile, and would have hidden
	// the child: see deleteSnapshot for what comes of a spacer then.
	if _, err := h.store.Find(ctx, child); err != nil {
		return fmt.Errorf("what was grafted: %w", err)
	}
	if err := rpc.WhileBusy(ctx, func() error { return h.deleteNow(ctx, s.uuid) }); err != nil {
		return err
	}
	s.made.keep(s.uuid)
	return nil
}

// ownsNothing makes sure that a spacer has no clusters, which would merge into the
// lvol that is grafted over it.
func (h *Host) ownsNothing(ctx context.Context, uuid string) error {
	b, err := h.store.Find(ctx, uuid)
	if err != nil {
		return err
	}
	if own := b.Own(); own > 0 {
		return fmt.Errorf("spacer %s has %d clusters of its own, so something else has written to it: %w", b.LvolName(), own, ports.ErrInvalid)
	}
	return nil
}

func (h *Host) resize(ctx context.Context, uuid string, mib uint64) error {
	return rpc.WhileBusy(ctx, func() error {
		return rpc.ResizeLvol(uuid, mib).Do(ctx, h.rpc)
	})
}
