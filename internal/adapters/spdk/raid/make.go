package raid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

var _ ports.Maker = (*Mirror)(nil)

// Begin implements ports.Maker.
func (m *Mirror) Begin(ctx context.Context, heads ...string) (err error) {
	defer m.explain(&err, "note the heads")
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	raids, err := m.others(ctx)
	if err != nil {
		return err
	}
	if noted := m.findPending(raids); noted != nil {
		return m.checkPending(noted, heads)
	}
	return m.notePending(ctx, heads)
}

// others are the target's RAIDs. ErrExists if the mirror's is among them.
func (m *Mirror) others(ctx context.Context) ([]rpc.RAID, error) {
	raids, err := rpc.GetRAIDs().Do(ctx, m.rpc)
	if err != nil {
		return nil, err
	}
	if r, _ := m.find(raids); r != nil {
		return nil, fmt.Errorf("it exists: %w", ports.ErrExists)
	}
	return raids, nil
}

// Make implements ports.Maker.
func (m *Mirror) Make(ctx context.Context, at ...ports.Address) (err error) {
	defer m.explain(&err, "create the bdev")
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := m.others(ctx); err != nil {
		return err
	}
	made := &description{Name: m.name, UUID: m.uuid}
	for _, one := range at {
		if err := m.describeHead(ctx, one, made); err != nil {
			return err
		}
	}
	if len(made.Bases) == 0 {
		return fmt.Errorf("no member: %w", ports.ErrInvalid)
	}
	// A bdev that has just appeared cannot be claimed while it is examined.
	if err := rpc.WaitForExamine().Do(ctx, m.rpc); err != nil {
		return err
	}
	return m.create(ctx, made, made.Bases)
}

// describeHead adds the head at a way to the description.
func (m *Mirror) describeHead(ctx context.Context, at ports.Address, made *description) error {
	w, err := m.way(at)
	if err != nil {
		return err
	}
	head, err := m.awaitHead(ctx, w)
	if err != nil {
		return err
	}
	if len(made.Bases) > 0 && (head.NumBlocks != made.Blocks || head.BlockSize != made.BlockSize) {
		return fmt.Errorf("%s has %d blocks of %d bytes, and %s %d of %d: %w",
			head.Name, head.NumBlocks, head.BlockSize, made.Bases[0], made.Blocks, made.BlockSize, ports.ErrInvalid)
	}
	made.Blocks, made.BlockSize = head.NumBlocks, head.BlockSize
	made.Bases = append(made.Bases, head.Name)
	return nil
}

// awaitHead waits until the head at a way has appeared.
func (m *Mirror) awaitHead(ctx context.Context, w nvmf.Way) (*rpc.Bdev, error) {
	base, err := m.baseOf(ctx, w)
	if err != nil {
		return nil, err
	}
	wait := rpc.BackOff{Pause: 2 * time.Millisecond, Longest: 50 * time.Millisecond, Until: time.Now().Add(appearsIn)}
	for {
		found, err := rpc.GetBdev(base).Do(ctx, m.rpc)
		switch {
		case err == nil && len(found) == 1:
			return &found[0], nil
		case err != nil && !errors.Is(err, ports.ErrNotFound):
			return nil, err
		case !wait.Next(ctx):
			return nil, nothingShown(w)
		}
	}
}

// Remove implements ports.Maker. ErrBusy: a subsystem exports the RAID, or something else has
// claimed it.
func (m *Mirror) Remove(ctx context.Context, heads ...string) (err error) {
	defer m.explain(&err, "delete the bdev")
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	raids, bdev, exported := rpc.GetRAIDs(), rpc.GetBdev(m.name), rpc.GetSubsystems("")
	all := []rpc.Request{raids, bdev, exported}
	m.rpc.Do(ctx, all...)
	if err := rpc.FirstErr(all, ports.ErrNotFound); err != nil {
		return err
	}
	r, _ := m.find(raids.Result)
	if r == nil {
		return nil
	}
	for _, sub := range exported.Result {
		for _, ns := range sub.Namespaces {
			if ns.BdevName == m.name {
				return rpc.WithKind(ports.ErrBusy, fmt.Errorf("it is exported as %s", sub.Nqn))
			}
		}
	}
	if len(bdev.Result) == 1 && bdev.Result[0].Claimed {
		return rpc.WithKind(ports.ErrBusy, errors.New("something on its target has claimed it"))
	}
	heads = slices.Clone(heads)
	for _, b := range m.serving(r) {
		heads = append(heads, b.UUID)
	}
	slices.Sort(heads)
	heads = slices.Compact(heads)
	// An engine that made the RAID may have left its note; the members were others then.
	if m.findPending(raids.Result) != nil {
		if err := rpc.DeleteRAID(pendingName(m.name)).Do(ctx, m.rpc); err != nil && !errors.Is(err, ports.ErrNotFound) {
			return err
		}
	}
	if err := m.notePending(ctx, heads); err != nil {
		return err
	}
	err = rpc.DeleteRAID(m.name).Do(ctx, m.rpc)
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	return err
}
