package raid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// description is what it takes to make a RAID again as it was.
type description struct {
	Name      string       `json:"name"`
	UUID      string       `json:"uuid"`
	Bases     []string     `json:"bases"`
	Blocks    uint64       `json:"blocks"`
	BlockSize uint64       `json:"blockSize"` // bytes
	Exports   []exportedAs `json:"exports"`
}

// exportedAs is an export of the RAID. Clients know it by these IDs.
type exportedAs struct {
	NQN       string                           `json:"nqn"`
	Namespace spdktypes.NvmfSubsystemNamespace `json:"namespace"`
}

// describe refuses a RAID that cannot be deleted and made again: it has a superblock,
// which only the call that made it first writes, a user who is no export, or a base that it may
// be about to drop and that would come back without the writes that it has missed.
func (m *Mirror) describe(n *newcomer) (*description, error) {
	d := &description{Name: m.name, UUID: n.raid.UUID, Blocks: n.bdev.NumBlocks, BlockSize: n.bdev.BlockSize}
	for _, b := range m.serving(n.raid) {
		d.Bases = append(d.Bases, b.Name)
	}
	for i := range n.exported {
		for _, ns := range n.exported[i].Namespaces {
			if ns.BdevName == m.name {
				ns.Anagrpid = "" // its default is the NSID
				d.Exports = append(d.Exports, exportedAs{n.exported[i].Nqn, ns})
			}
		}
	}
	switch {
	case len(n.failing) > 0:
		return nil, fmt.Errorf("an I/O to %s has failed, and the RAID is not made again before it has had time to drop that: %w",
			strings.Join(n.failing, ", "), ports.ErrUnavailable)
	case n.raid.Superblock:
		return nil, fmt.Errorf("the target can only make the RAID again to add a base, and it has a superblock: %w", ports.ErrUnsupported)
	case n.bdev.Claimed && len(d.Exports) == 0:
		return nil, fmt.Errorf("the target can only make the RAID again to add a base, and something other than an NVMe-oF subsystem uses it: %w", ports.ErrUnsupported)
	}
	return d, nil
}

// recreateWith makes the RAID again with one base more, in four calls one after the other.
// If that fails, it is made again as it was.
func (m *Mirror) recreateWith(ctx context.Context, n *newcomer, marking *rpc.Call) error {
	was, err := m.describe(n)
	if err != nil {
		return err
	}
	if m.hasZeros(n.raid) {
		if err := m.dropZeros(ctx); err != nil {
			return err
		}
	}
	return m.recreate(ctx, was, append(slices.Clone(was.Bases), n.base), marking)
}

// letGo has the RAID let go of a base that it could not read when it grew: the Longhorn branch
// keeps it open without using it, so that its controller can never be detached. Only the RAID's
// end helps, so it is made again as it was. ctx is that of the freeze: once that is over, it
// is left as it is.
func (m *Mirror) letGo(ctx context.Context, base string) error {
	n, err := m.lookAt(ctx, base)
	if err != nil || !slices.ContainsFunc(n.raid.Bases, func(b rpc.RAIDBase) bool { return b.Name == base && !b.Configured }) {
		return err
	}
	was, err := m.describe(n)
	if err != nil {
		return err
	}
	m.log.Warn("the RAID is made again: it keeps a bdev that it could not read", zap.String("bdev", base))
	return m.recreate(ctx, was, was.Bases, nil)
}

// recreate makes the RAID again, of other bases. If that fails, it is made again as it was.
func (m *Mirror) recreate(ctx context.Context, was *description, bases []string, marking *rpc.Call) error {
	done, err := m.beginRemake(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = m.remake(ctx, was, bases, marking)
	if err == nil {
		return nil
	}
	if failed := m.restore(context.WithoutCancel(ctx), was); failed != nil {
		return errors.Join(err, fmt.Errorf("the RAID could not be made again as it was; opening the mirror tries that again: %w", failed))
	}
	return err
}

// remakesIn is what must be left of a freeze for the RAID to be deleted in it. It takes less than
// that on a busy machine, too.
const remakesIn = 500 * time.Millisecond

// remaking is the key of the lock that Resume waits for.
const remaking = "remaking"

// beginRemake refuses to begin so late that the freeze may end meanwhile: clients would find no
// RAID. If it does end, Resume waits until done is called.
func (m *Mirror) beginRemake(ctx context.Context) (done func(), err error) {
	if until, is := ctx.Deadline(); is && time.Until(until) < remakesIn {
		return nil, fmt.Errorf("less than %s are left to make the RAID again: %w", remakesIn, ports.ErrUnavailable)
	}
	return m.take(ctx, remaking)
}

// remake shares writes: one arrives at the target as a whole or, if this process ends, not
// at all. So the note is there before anything is missing, and goes when nothing is, unless the
// target refuses an export; then restore makes it again.
func (m *Mirror) remake(ctx context.Context, was *description, bases []string, marking *rpc.Call) error {
	note, err := was.note()
	if err != nil {
		return err
	}
	opening := []*rpc.Call{note}
	for _, e := range was.Exports {
		opening = append(opening, rpc.RemoveNamespace(e.NQN, e.Namespace.Nsid))
	}
	m.rpc.Do(ctx, rpc.Requests(opening)...)
	if err := rpc.FirstErr(opening); err != nil {
		return fmt.Errorf("end its export: %w", err)
	}
	if err := rpc.DeleteRAID(m.name).Do(ctx, m.rpc); err != nil {
		return err
	}
	if err := rpc.CreateRAID1(was.Name, was.UUID, bases...).Do(ctx, m.rpc); err != nil {
		return err
	}
	var closing []*rpc.Call
	for _, e := range was.Exports {
		closing = append(closing, rpc.AddNamespace(e.NQN, e.Namespace))
	}
	forget := was.forget()
	all := append(rpc.Requests(closing), forget)
	if marking != nil {
		all = append(all, marking)
	}
	m.rpc.Do(ctx, all...)
	if err := rpc.FirstErr(closing); err != nil {
		return err
	}
	if rpc.OutcomeUnknown(forget.Err) {
		return forget.Err
	}
	return nil
}

// restoreFor is how long it is tried to make a RAID again, also after the context of a
// freeze has ended: the volume has none meanwhile.
const restoreFor = 30 * time.Second

// restore makes a RAID again as it was, or what is missing of it. Heads that are gone are
// left out.
func (m *Mirror) restore(ctx context.Context, was *description) error {
	wait := rpc.BackOff{Pause: 10 * time.Millisecond, Longest: time.Second, Until: time.Now().Add(restoreFor)}
	for {
		err := m.restoreOnce(ctx, was)
		if err == nil || rpc.IsGone(err) || !wait.Next(ctx) {
			return err // the bases have gone with a target that has ended
		}
		m.log.Warn("the RAID could not be made again yet", zap.Error(err))
	}
}

// restoreOnce makes the note again before it looks: remake forgets it also if an export was refused.
func (m *Mirror) restoreOnce(ctx context.Context, was *description) error {
	note, err := was.note()
	if err != nil {
		return err
	}
	m.rpc.Do(ctx, note) // in a write of its own: it is tried without the note, too
	raids, exported, bdevs := rpc.GetRAIDs(), rpc.GetSubsystems(""), rpc.GetBdevs()
	all := []rpc.Request{raids, exported, bdevs}
	m.rpc.Do(ctx, all...)
	if err := rpc.FirstErr(all); err != nil {
		return err
	}
	if r, _ := m.find(raids.Result); r == nil {
		there := slices.DeleteFunc(slices.Clone(was.Bases), func(base string) bool {
			return !slices.ContainsFunc(bdevs.Result, func(b rpc.Bdev) bool { return b.Name == base || slices.Contains(b.Aliases, base) })
		})
		if err := m.create(ctx, was, there); err != nil {
			return err
		}
	} else if err := m.dropZeros(ctx); err != nil {
		return err
	}
	var missing []*rpc.Call
	for _, e := range was.Exports {
		if !isExported(exported.Result, e) {
			missing = append(missing, rpc.AddNamespace(e.NQN, e.Namespace))
		}
	}
	m.rpc.Do(ctx, rpc.Requests(missing)...)
	if err := rpc.FirstErr(missing); err != nil {
		return fmt.Errorf("export it again: %w", err)
	}
	err = was.forget().Do(ctx, m.rpc)
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	return err
}

// isExported reports whether the subsystem has that namespace, or is gone itself.
func isExported(all []spdktypes.NvmfSubsystem, e exportedAs) bool {
	for i := range all {
		if all[i].Nqn == e.NQN {
			return slices.ContainsFunc(all[i].Namespaces, func(ns spdktypes.NvmfSubsystemNamespace) bool { return ns.Nsid == e.Namespace.Nsid })
		}
	}
	return true
}
