package spdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// tidyFor is how long helpers are removed after the caller's context has
// ended: a few calls of 8 ms, or a wait for a busy lvol.
const tidyFor = 5 * time.Second

// helpers are the lvols that one call makes for itself. All are gone when it
// returns, unless the target does not answer any more. What is left then is in the
// way when the call is made again (a snapshot with a clone is not deleted), so it is
// removed first.
type helpers struct {
	host *Host
	made []string // UUIDs or aliases, parents before children
}

// add takes note of a helper. One whose making was not answered has no UUID yet,
// but an alias, which is as good: nobody else draws its name.
func (s *helpers) add(uuid string) { s.made = append(s.made, uuid) }

// note makes a helper of that name, and takes note of it, also where the call was
// not answered.
func (s *helpers) note(name string, make func() (uuid string, err error)) (uuid string, err error) {
	uuid, err = make()
	switch {
	case err == nil:
		s.add(uuid)
	case rpc.OutcomeUnknown(err):
		s.add(s.host.store.Alias(name))
	}
	return uuid, err
}

// clone makes a helper that hangs on the snapshot, whose lock must be held.
func (s *helpers) clone(ctx context.Context, snapshot, name string) (uuid string, err error) {
	return s.note(name, func() (string, error) { return s.host.cloneNow(ctx, snapshot, name) })
}

// addBelow takes note of a helper that the others hang on.
func (s *helpers) addBelow(uuid string) { s.made = append([]string{uuid}, s.made...) }

// drop removes a helper that has served.
func (s *helpers) drop(ctx context.Context, uuid string) error {
	if err := s.host.deleteEmpty(ctx, uuid); err != nil {
		return err
	}
	s.keep(uuid)
	return nil
}

// keep makes a helper a thing of its own.
func (s *helpers) keep(uuid string) {
	s.made = slices.DeleteFunc(s.made, func(made string) bool { return made == uuid })
}

// tidy removes those that are left, also when the context has ended.
func (s *helpers) tidy(ctx context.Context) {
	if len(s.made) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyFor)
	defer cancel()
	for _, uuid := range slices.Backward(s.made) {
		if err := s.host.deleteEmpty(ctx, uuid); err != nil && !errors.Is(err, ports.ErrNotFound) {
			s.host.log.Warn("a helper lvol stays; the replica's next run removes it", zap.String("uuid", uuid), zap.Error(err))
			s.host.mu.Lock()
			s.host.litter = append(s.host.litter, uuid)
			s.host.mu.Unlock()
		}
	}
}

// sweep removes helpers that earlier calls could not remove. Those that still
// cannot be stay noted, and are no reason not to go on.
func (h *Host) sweep(ctx context.Context) {
	h.mu.Lock()
	litter := h.litter
	h.litter = nil
	h.mu.Unlock()
	for i, uuid := range litter {
		err := h.deleteEmpty(ctx, uuid)
		if err == nil || errors.Is(err, ports.ErrNotFound) {
			continue
		}
		h.log.Debug("a helper lvol still stays", zap.String("uuid", uuid), zap.Error(err))
		left := litter[i : i+1]
		if rpc.OutcomeUnknown(err) {
			left = litter[i:] // the others would fare no better
		}
		h.mu.Lock()
		h.litter = append(h.litter, left...)
		h.mu.Unlock()
		if rpc.OutcomeUnknown(err) {
			return
		}
	}
}

// deleteEmpty deletes a helper. It may have one clone, which then hangs on the
// grandparent: SPDK merges the lvol's clusters into the clone, and there are none
// (delete_snapshot_sync_snapshot_xattr_cpl in blobstore.c).
func (h *Host) deleteEmpty(ctx context.Context, uuid string) error {
	b, err := h.store.Find(ctx, uuid)
	if err != nil {
		return err
	}
	if own, has := b.Own(), len(b.Driver.Lvol.Clones); has > 1 || own > 0 && has > 0 {
		return fmt.Errorf("helper lvol %s has %d clusters of its own and %d clones, so it is not deleted: %w", b.LvolName(), own, has, ports.ErrInvalid)
	}
	return rpc.WhileBusy(ctx, func() error {
		if b.ReadOnly() && len(b.Driver.Lvol.Clones) == 0 {
			return h.deleteSnapshot(ctx, b)
		}
		return h.deleteNow(ctx, uuid)
	})
}

// deleteNow deletes without looking.
func (h *Host) deleteNow(ctx context.Context, uuid string) error {
	return rpc.DeleteLvol(uuid).Do(ctx, h.rpc)
}
