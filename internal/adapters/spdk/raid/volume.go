package raid

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Volume implements ports.Mirror. An empty slot of the RAID does not tell which head it
// had: a lost member is listed if this process has seen it before. An answer of the target that
// may be older than a change by this process is not used: it is asked again.
func (m *Mirror) Volume(ctx context.Context) (v domain.Volume, err error) {
	defer m.explain(&err, "list the members")
	for {
		changes := m.changes.Load()
		l, failed := m.ask(ctx)
		if failed != nil && !errors.Is(failed, ports.ErrNotFound) {
			return domain.Volume{}, failed
		}
		unlock, err := m.take(ctx, members)
		if err != nil {
			return domain.Volume{}, err
		}
		current := m.changes.Load() == changes
		if current && failed == nil {
			v = m.note(l)
		}
		unlock()
		switch {
		case current && failed != nil:
			return v, m.missing(ctx, failed)
		case current:
			return v, nil
		}
	}
}

// listing is what the target tells of the RAID.
type listing struct {
	raid  *rpc.RAID // or the note of one that is being made or removed
	size  uint64    // bytes
	asked proofs
	news  []*rpc.RAIDBase // that serve and are seen for the first time, with their I/Os
	stats []*rpc.CallOf[rpc.Iostat]
}

// ask asks the target.
func (m *Mirror) ask(ctx context.Context) (*listing, error) {
	raids, bdev := rpc.GetRAIDs(), rpc.GetBdev(m.name)
	l := &listing{asked: m.askProofs()}
	all := append([]rpc.Request{raids, bdev}, l.asked.calls()...)
	m.rpc.Do(ctx, all...)
	if err := rpc.FirstErr(all, ports.ErrNotFound); err != nil {
		return nil, err
	}
	r, err := m.find(raids.Result)
	if err != nil {
		if r = m.findPending(raids.Result); r == nil {
			return nil, err
		}
		return &listing{raid: r}, nil
	}
	l.raid = r
	for i := range bdev.Result {
		l.size = bdev.Result[i].Size()
	}
	for _, b := range m.serving(r) {
		if !m.heads.isCounted(b.UUID) {
			l.news, l.stats = append(l.news, b), append(l.stats, rpc.GetIostat(b.Name))
		}
	}
	if len(l.stats) > 0 {
		m.rpc.Do(ctx, rpc.Requests(l.stats)...)
	}
	return l, nil
}

// missing is the error of a RAID that the target did not list. Another process may have deleted it
// just to make it again.
func (m *Mirror) missing(ctx context.Context, notFound error) error {
	bdevs, raids := rpc.GetBdevs(), rpc.GetRAIDs()
	m.rpc.Do(ctx, bdevs, raids)
	if err := rpc.FirstErr([]rpc.Request{bdevs, raids}); err != nil {
		return err
	}
	_, err := m.find(raids.Result)
	noted := slices.ContainsFunc(bdevs.Result, func(b rpc.Bdev) bool { _, is := readNote(m.name, b.Name); return is })
	if err == nil || noted {
		return fmt.Errorf("a process is making it again, or died over that: %w", ports.ErrUnavailable)
	}
	return notFound
}

// note notes what the target has told, and makes a volume of it.
func (m *Mirror) note(l *listing) domain.Volume {
	if isPending(l.raid.Name) {
		return m.pendingVolume(l.raid)
	}
	for i, b := range l.news {
		if l.stats[i].Err == nil {
			m.heads.count(b.UUID, b.Name, l.stats[i].Result.Failed())
		}
	}
	return domain.Volume{Name: m.name, Host: m.ownHost(), Size: l.size, Members: m.members(l.raid, l.asked)}
}

// ownHost is the NQN by which this RAID alone connects. "": the caller has chosen one, which may be
// that of other RAIDs, too.
func (m *Mirror) ownHost() string {
	if own := nvmf.UUIDNQN(m.uuid); m.nqn == own {
		return own
	}
	return ""
}

func (m *Mirror) members(r *rpc.RAID, asked proofs) (members []domain.Member) {
	serving := make(map[string]bool)
	for _, b := range m.serving(r) {
		serving[b.UUID] = true
		it := domain.Member{Head: b.UUID, Name: b.Name, Mode: domain.ModeRW}
		var doubted bool
		if it.Since, doubted = m.heads.see(b.UUID, b.Name, asked.of(b.UUID)); doubted {
			it.Reason = fmt.Sprintf("an I/O to %s failed, perhaps within the last %s, and RAID %s drops it if that was a write", b.Name, dropsIn, m.name)
		}
		if r.Process != nil && r.Process.Target == b.Name {
			it.Mode = domain.ModeWO
		}
		members = append(members, it)
	}
	lost := m.heads.lost(serving)
	for _, head := range slices.Sorted(maps.Keys(lost)) {
		members = append(members, domain.Member{
			Head: head, Name: lost[head], Mode: domain.ModeERR,
			Reason: fmt.Sprintf("RAID %s has dropped %s: an I/O to it failed, or it was removed", m.name, lost[head]),
		})
	}
	return members
}

// proofs asks the target for what proves that members have had every write, by head.
type proofs map[string]askedProof

type askedProof struct {
	name  string                  // of the mark; "": none
	mark  *rpc.CallOf[[]rpc.Bdev] // nil: none
	stats *rpc.CallOf[rpc.Iostat]
}

func (m *Mirror) askProofs() proofs {
	asked := make(proofs)
	seen, bases := m.heads.all()
	for head, p := range seen {
		one := askedProof{name: p.mark, stats: rpc.GetIostat(bases[head])}
		if p.mark != "" {
			one.mark = rpc.GetBdev(p.mark)
		}
		asked[head] = one
	}
	return asked
}

func (p proofs) calls() (calls []rpc.Request) {
	for _, one := range p {
		calls = append(calls, one.stats)
		if one.mark != nil {
			calls = append(calls, one.mark)
		}
	}
	return calls
}

// of is what the target has told; nil: it was not asked.
func (p proofs) of(head string) *proof {
	one, asked := p[head]
	if !asked {
		return nil
	}
	if one.stats.Err != nil {
		return &proof{}
	}
	now := proof{connection: one.stats.Connection(), failed: one.stats.Result.Failed()}
	if one.mark != nil && one.mark.Err == nil {
		now.mark = one.name
	}
	return &now
}
