package raid

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// zerosName is that of a bdev that stands in for a second base.
func zerosName(raid string) string { return noteName(raid) + "-zeros" }

// create makes the RAID. A target that cannot add a base refuses a single one: a bdev of
// zeros stands in for a second one, which then leaves.
func (m *Mirror) create(ctx context.Context, was *description, bases []string) error {
	if len(bases) != 1 || m.can.Grows {
		return rpc.CreateRAID1(was.Name, was.UUID, bases...).Do(ctx, m.rpc)
	}
	zeros := zerosName(was.Name)
	if err := rpc.CreateNull(zeros, was.Blocks, was.BlockSize).Do(ctx, m.rpc); err != nil && !errors.Is(err, ports.ErrExists) {
		return err
	}
	if err := rpc.CreateRAID1(was.Name, was.UUID, bases[0], zeros).Do(ctx, m.rpc); err != nil {
		return err
	}
	return m.dropZeros(ctx)
}

// dropZeros takes the bdev of zeros out of the RAID, and deletes it. A process may have ended
// before it did so itself: clients would read the zeros.
func (m *Mirror) dropZeros(ctx context.Context) error {
	if err := rpc.DeleteNull(zerosName(m.name)).Do(ctx, m.rpc); err != nil && !errors.Is(err, ports.ErrNotFound) {
		return err
	}
	raids, err := rpc.GetRAIDs().Do(ctx, m.rpc)
	if err != nil {
		return err
	}
	if r, _ := m.find(raids); r != nil && m.hasZeros(r) { // its deletion has begun
		return fmt.Errorf("%s is still a base: %w", zerosName(m.name), ports.ErrUnavailable)
	}
	return nil
}

func (m *Mirror) hasZeros(r *rpc.RAID) bool {
	return slices.ContainsFunc(r.Bases, func(b rpc.RAIDBase) bool { return b.Name == zerosName(m.name) })
}

// serving are the bases that are read and written, without the bdev of zeros.
func (m *Mirror) serving(r *rpc.RAID) (bases []*rpc.RAIDBase) {
	for i := range r.Bases {
		if b := &r.Bases[i]; b.Serves() && b.Name != zerosName(m.name) {
			bases = append(bases, b)
		}
	}
	return bases
}
