package raid

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Volume implements ports.Mirror. An empty slot of the RAID does not tell which head it
// had: a lost member is listed if this process has seen it before.
func (m *Mirror) Volume(ctx context.Context) (v domain.Volume, err error) {
	defer m.explain(&err, "list the members")
	raids, bdev := rpc.GetRAIDs(), rpc.GetBdev(m.name)
	all := []rpc.Request{raids, bdev}
	marks := make(map[string]*rpc.CallOf[[]rpc.Bdev])
	for _, mark := range m.heads.marks() {
		marks[mark] = rpc.GetBdev(mark)
		all = append(all, marks[mark])
	}
	m.rpc.Do(ctx, all...)
	if err := rpc.FirstErr(all, ports.ErrNotFound); err != nil {
		return domain.Volume{}, err
	}
	there := make(map[string]bool)
	for mark, look := range marks {
		there[mark] = look.Err == nil
	}
	r, err := m.find(raids.Result)
	if err != nil {
		return domain.Volume{}, err
	}
	v = domain.Volume{Name: m.name}
	for i := range bdev.Result {
		v.Size = bdev.Result[i].Size()
	}
	v.Members = m.members(r, proof{connection: raids.Connection()}, there)
	return v, nil
}

func (m *Mirror) members(r *rpc.RAID, now proof, marks map[string]bool) (members []domain.Member) {
	serving := make(map[string]bool)
	for i := range r.Bases {
		b := &r.Bases[i]
		if !b.Serves() {
			continue
		}
		serving[b.UUID] = true
		it := domain.Member{Head: b.UUID, Name: b.Name, Mode: domain.ModeRW, Since: m.heads.see(b.UUID, b.Name, now, marks)}
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
