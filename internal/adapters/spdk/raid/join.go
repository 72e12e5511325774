package raid

import (
	"context"
	"errors"
	"fmt"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Join implements ports.Mirror. On the Longhorn branch it takes one call if Connect has seen
// the head, else two one after the other. On upstream SPDK it takes five. Where it looks at
// the head, it takes one more if the lvol is on the same target.
func (m *Mirror) Join(ctx context.Context, _ ports.Run, at ports.Address) (joining domain.Member, err error) {
	defer m.explain(&err, "add a member")
	w, err := m.way(at)
	if err != nil {
		return domain.Member{}, err
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return domain.Member{}, err
	}
	defer unlock()
	n := m.seen.take(w.NQN)
	if n == nil || !m.can.Grows { // that makes the RAID again of the bases that it has now
		if n, err = m.lookAtNew(ctx, w); err != nil {
			return domain.Member{}, err
		}
	}
	proven, err := m.add(ctx, n, newMark(w.Head))
	if err != nil {
		return domain.Member{}, err
	}
	it := joined{proof: proven}
	if w.Remote != nil {
		it.controller = w.Controller()
	}
	since := m.heads.join(n.head.UUID, n.base, it)
	return domain.Member{Head: n.head.UUID, Name: n.base, Mode: domain.ModeRW, Since: since}, nil
}

// newcomer is a head that joins, and what it joins.
type newcomer struct {
	base     string // the name of the bdev
	head     *rpc.Bdev
	failed   uint64   // I/Os of the base so far
	failing  []string // bases that the RAID may be about to drop
	raid     *rpc.RAID
	bdev     *rpc.Bdev // of the RAID
	exported []spdktypes.NvmfSubsystem
}

// appearsIn is how long a shown head may take to appear. As a rule it is there at once.
const appearsIn = time.Second

// lookAtNew waits until the head has appeared, and looks in one write at all that decides
// whether and how it can join.
func (m *Mirror) lookAtNew(ctx context.Context, w nvmf.Way) (*newcomer, error) {
	base, err := m.baseOf(ctx, w)
	if err != nil {
		return nil, err
	}
	wait := rpc.BackOff{Pause: 2 * time.Millisecond, Longest: 50 * time.Millisecond, Until: time.Now().Add(appearsIn)}
	for {
		n, err := m.lookAt(ctx, base)
		if err != nil {
			return nil, err
		}
		if n.head != nil {
			err = n.check()
			return n, err
		}
		if !wait.Next(ctx) {
			return nil, nothingShown(w)
		}
	}
}

// baseOf is the name of the bdev that a way leads to, or is going to lead to.
func (m *Mirror) baseOf(ctx context.Context, w nvmf.Way) (string, error) {
	if w.Remote != nil {
		return w.Bdev(), nil
	}
	lvol, err := w.Local(ctx, m.rpc)
	if errors.Is(err, ports.ErrNotFound) || err == nil && lvol == "" {
		return "", nothingShown(w)
	}
	return lvol, err
}

func nothingShown(w nvmf.Way) error {
	return fmt.Errorf("nothing is shown at way %s: %w", w.NQN, ports.ErrUnavailable)
}

// lookAt looks at a base that is going to be added. Its head is nil while it is not there.
func (m *Mirror) lookAt(ctx context.Context, base string) (*newcomer, error) {
	head, bdev, raids, exported := rpc.GetBdev(base), rpc.GetBdev(m.name), rpc.GetRAIDs(), rpc.GetSubsystems("")
	stats := rpc.GetIostat(base)
	asked := m.askProofs()
	all := append([]rpc.Request{head, rpc.WaitForExamine(), bdev, raids, exported, stats}, asked.calls()...)
	m.rpc.Do(ctx, all...)
	if err := rpc.FirstErr(all, ports.ErrNotFound); err != nil {
		return nil, err
	}
	r, err := m.find(raids.Result)
	if err == nil && len(bdev.Result) != 1 {
		err = fmt.Errorf("RAID %s is %s: %w", m.name, r.State, ports.ErrUnavailable)
	}
	if err != nil {
		return nil, err
	}
	n := &newcomer{base: base, raid: r, bdev: &bdev.Result[0], exported: exported.Result, failed: stats.Result.Failed()}
	for _, b := range m.serving(r) {
		if m.heads.fails(b.UUID, asked.of(b.UUID)) {
			n.failing = append(n.failing, b.Name)
		}
	}
	if len(head.Result) == 1 {
		n.head = &head.Result[0]
	}
	return n, nil
}

func (n *newcomer) check() error {
	switch {
	case n.raid.Base(n.head.UUID) != nil:
		return fmt.Errorf("%s is a member already: %w", n.base, ports.ErrExists)
	case n.head.Size() < n.bdev.Size():
		return fmt.Errorf("%s has %d bytes, and the RAID %d: %w", n.base, n.head.Size(), n.bdev.Size(), ports.ErrInvalid)
	case n.raid.Process != nil:
		return fmt.Errorf("SPDK is rebuilding %s of the RAID itself: %w", n.raid.Process.Target, ports.ErrBusy)
	}
	return nil
}

// add adds the head, and makes the mark in a write that is needed anyway. After a failure Release
// removes it.
func (m *Mirror) add(ctx context.Context, n *newcomer, mark string) (proof, error) {
	marking := rpc.CreateNull(mark, 1, n.bdev.BlockSize)
	if !m.can.Grows {
		if err := m.recreateWith(ctx, n, marking); err != nil {
			return proof{}, err
		}
		return n.proof(marking, mark), nil
	}
	grow := rpc.GrowRAID(m.name, n.base)
	m.rpc.Do(ctx, grow, marking)
	if grow.Err == nil {
		return n.proof(marking, mark), nil
	}
	if !rpc.OutcomeUnknown(grow.Err) {
		return proof{}, errors.Join(grow.Err, m.letGo(ctx, n.base))
	}
	return m.hasJoined(ctx, n, mark, grow.Err)
}

// proof is the mark, unless the target has refused it.
func (n *newcomer) proof(marking *rpc.Call, mark string) proof {
	p := proof{connection: marking.Connection(), failed: n.failed}
	if marking.Err == nil {
		p.mark = mark
	}
	return p
}

// hasJoined looks whether a call without an answer has taken effect. It must be seen while
// the freeze lasts: later the head may lack a write.
func (m *Mirror) hasJoined(ctx context.Context, n *newcomer, mark string, unanswered error) (proof, error) {
	look, marked := rpc.GetRAIDs(), rpc.GetBdev(mark)
	m.rpc.Do(ctx, look, marked)
	if look.Err != nil {
		return proof{}, errors.Join(unanswered, look.Err)
	}
	r, err := m.find(look.Result)
	if err != nil {
		return proof{}, errors.Join(unanswered, err)
	}
	if b := r.Base(n.head.UUID); b == nil || !b.Serves() {
		return proof{}, errors.Join(unanswered, m.letGo(ctx, n.base))
	}
	p := proof{connection: look.Connection(), failed: n.failed}
	if marked.Err == nil {
		p.mark = mark
	}
	return p, nil
}
