package spdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// tidyFor is how long helpers are removed after the caller's context has
// ended: a few calls of 8 ms, or a wait for a busy lvol.
const tidyFor = 5 * time.Second

// helpers are the lvols that one verb makes for itself. It removes them before it
// returns, unless the target does not answer any more. Those that are left would be in
// the way of the next verb (a snapshot with a clone is not deleted), so that removes
// them first.
type helpers struct {
	lvols *lvols
	made  []string // UUIDs or aliases, parents before children
}

// note takes note of a helper of that name that was made, or may have been: a call
// without an answer gives no UUID, but the alias will do, since nobody else draws its
// name.
func (s *helpers) note(name, uuid string, err error) (string, error) {
	switch {
	case err == nil:
		s.made = append(s.made, uuid)
	case rpc.OutcomeUnknown(err):
		s.made = append(s.made, s.lvols.Alias(name))
	}
	return uuid, err
}

// clone makes a helper of a snapshot, whose lock must be held.
func (s *helpers) clone(ctx context.Context, snapshot, name string) (string, error) {
	uuid, err := s.lvols.clone(ctx, snapshot, name)
	return s.note(name, uuid, err)
}

// keep takes an lvol off the helpers: it has gone, or is one no more.
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
		if err := s.lvols.deleteHelper(ctx, uuid); err != nil && !errors.Is(err, ports.ErrNotFound) {
			s.lvols.log.Warn("a helper lvol stays; the replica's next run removes it", zap.String("uuid", uuid), zap.Error(err))
			s.lvols.leftovers.add(uuid)
		}
	}
}

// leftovers are helpers that could not be removed: UUIDs or aliases, children before
// their parents.
type leftovers struct {
	mu   sync.Mutex
	left []string
}

func (l *leftovers) add(uuids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = append(l.left, uuids...)
}

func (l *leftovers) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.left
	l.left = nil
	return left
}

// sweep removes helpers that earlier verbs could not remove. It keeps note of those
// that it cannot remove either, and that is no error.
func (l *lvols) sweep(ctx context.Context) {
	left := l.leftovers.take()
	for i, uuid := range left {
		err := l.deleteHelper(ctx, uuid)
		if err == nil || errors.Is(err, ports.ErrNotFound) {
			continue
		}
		l.log.Debug("a helper lvol still stays", zap.String("uuid", uuid), zap.Error(err))
		if rpc.OutcomeUnknown(err) {
			l.leftovers.add(left[i:]...) // the others would fare no better
			return
		}
		l.leftovers.add(uuid)
	}
}

// deleteHelper deletes a helper. It may have one clone, whose parent is the helper's
// then: SPDK merges the helper's clusters into the clone, and there are none
// (delete_snapshot_sync_snapshot_xattr_cpl in blobstore.c).
func (l *lvols) deleteHelper(ctx context.Context, uuid string) error {
	b, err := l.Find(ctx, uuid)
	if err != nil {
		return err
	}
	if own, has := b.Own(), len(b.Driver.Lvol.Clones); has > 1 || own > 0 && has > 0 {
		return fmt.Errorf("helper lvol %s has %d clusters of its own and %d clones, so it is not deleted: %w", b.LvolName(), own, has, ports.ErrInvalid)
	}
	return rpc.WhileBusy(ctx, func() error {
		if b.ReadOnly() && len(b.Driver.Lvol.Clones) == 0 {
			return l.deleteSnapshot(ctx, b)
		}
		return l.deleteNow(ctx, uuid)
	})
}

// wake has the target know a snapshot as one again after a restart, by a clone that is
// made and deleted. Its lock must be held.
func (l *lvols) wake(ctx context.Context, uuid, helper string) error {
	made := helpers{lvols: l}
	defer made.tidy(ctx)
	clone, err := made.clone(ctx, uuid, helper)
	if err != nil {
		return fmt.Errorf("wake snapshot %s, which is asleep since the target's restart: %w", uuid, err)
	}
	if err := l.deleteHelper(ctx, clone); err != nil {
		return err
	}
	made.keep(clone)
	return nil
}
