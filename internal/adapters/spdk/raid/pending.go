package raid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// While a RAID is made or removed, the target has a second one of its UUID, which waits for
// bases that never come: their names are those of the heads. So hosts find out that the RAID
// is going to be on their target, and every process finds what another one has begun.

func pendingName(raid string) string { return noteName(raid) + "pending" }

// pendingHead begins the name of a base that stands for a head.
const pendingHead = "head-"

// findPending finds the note of the mirror's RAID; nil: none.
func (m *Mirror) findPending(raids []rpc.RAID) *rpc.RAID {
	i := slices.IndexFunc(raids, func(r rpc.RAID) bool { return r.Name == pendingName(m.name) })
	if i < 0 {
		return nil
	}
	return &raids[i]
}

func isPending(raid string) bool {
	return strings.HasPrefix(raid, notePrefix) && strings.HasSuffix(raid, "-pending")
}

func pendingHeads(r *rpc.RAID) (heads []string) {
	for _, b := range r.Bases {
		if head, is := strings.CutPrefix(b.Name, pendingHead); is {
			heads = append(heads, head)
		}
	}
	slices.Sort(heads)
	return heads
}

func (m *Mirror) pendingVolume(r *rpc.RAID) domain.Volume {
	v := domain.Volume{Name: m.name, Pending: true}
	for _, head := range pendingHeads(r) {
		v.Members = append(v.Members, domain.Member{
			Head: head, Name: head, Mode: domain.ModeERR, Reason: fmt.Sprintf("RAID %s is being made or removed", m.name),
		})
	}
	return v
}

// checkPending refuses a note that is not of these heads, or of a RAID of another UUID: members
// are exported to a host of that.
func (m *Mirror) checkPending(noted *rpc.RAID, heads []string) error {
	switch {
	case !slices.Equal(pendingHeads(noted), slices.Sorted(slices.Values(heads))):
		return fmt.Errorf("it is being made or removed over other heads: %w", ports.ErrExists)
	case noted.UUID != m.uuid:
		return fmt.Errorf("another process has begun to make or remove it: %w", ports.ErrExists)
	}
	return nil
}

// notePending makes the note, unless there is one of the same heads.
func (m *Mirror) notePending(ctx context.Context, heads []string) error {
	var bases []string
	for _, head := range heads {
		bases = append(bases, pendingHead+head)
	}
	if len(bases) == 1 { // upstream refuses a RAID of one base
		bases = append(bases, "nothing")
	}
	err := rpc.CreateRAID1(pendingName(m.name), m.uuid, bases...).Do(ctx, m.rpc)
	if !errors.Is(err, ports.ErrExists) {
		return err
	}
	raids, failed := rpc.GetRAIDs().Do(ctx, m.rpc)
	if failed != nil {
		return failed
	}
	if noted := m.findPending(raids); noted != nil {
		return m.checkPending(noted, heads)
	}
	return err
}

// End implements ports.Maker.
func (m *Mirror) End(ctx context.Context) (err error) {
	defer m.explain(&err, "forget the heads")
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, call := range []*rpc.Call{rpc.DeleteNull(zerosName(m.name)), rpc.DeleteRAID(pendingName(m.name))} {
		if err := call.Do(ctx, m.rpc); err != nil && !errors.Is(err, ports.ErrNotFound) {
			return err
		}
	}
	return nil
}
