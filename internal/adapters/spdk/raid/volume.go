package raid

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Volume implements ports.Mirror. An empty slot of the RAID does not tell which head it
// had: a lost member is listed if this process has seen it before.
func (m *Mirror) Volume(ctx context.Context) (v domain.Volume, err error) {
	defer m.explain(&err, "list the members")
	raids, bdev := rpc.GetRAIDs(), rpc.GetBdev(m.name)
	asked := m.askProofs()
	all := append([]rpc.Request{raids, bdev}, asked.calls()...)
	m.rpc.Do(ctx, all...)
	if err := rpc.FirstErr(all, ports.ErrNotFound); err != nil {
		return domain.Volume{}, err
	}
	r, err := m.find(raids.Result)
	if noted := m.findPending(raids.Result); err != nil && noted != nil {
		return m.pendingVolume(noted), nil
	}
	if err != nil {
		return domain.Volume{}, err
	}
	v = domain.Volume{Name: m.name, Host: m.ownHost()}
	for i := range bdev.Result {
		v.Size = bdev.Result[i].Size()
	}
	m.countFailures(ctx, r)
	v.Members = m.members(r, asked)
	return v, nil
}

// ownHost is the NQN by which this RAID alone connects. "": the caller has chosen one, which may be
// that of other RAIDs, too.
func (m *Mirror) ownHost() string {
	if own := nvmf.UUIDNQN(m.uuid); m.nqn == own {
		return own
	}
	return ""
}

// countFailures asks how many I/Os have failed of bases that are seen for the first time.
func (m *Mirror) countFailures(ctx context.Context, r *rpc.RAID) {
	var news []*rpc.RAIDBase
	var calls []*rpc.CallOf[rpc.Iostat]
	for _, b := range m.serving(r) {
		if !m.heads.isCounted(b.UUID) {
			news, calls = append(news, b), append(calls, rpc.GetIostat(b.Name))
		}
	}
	if len(calls) == 0 {
		return
	}
	m.rpc.Do(ctx, rpc.Requests(calls)...)
	for i, b := range news {
		if calls[i].Err == nil {
			m.heads.count(b.UUID, b.Name, calls[i].Result.Failed())
		}
	}
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
