package memory

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// CuttingMirror is a Mirror that takes the snapshots of its members itself. It implements
// ports.Cutter.
type CuttingMirror struct{ *Mirror }

var _ ports.Cutter = CuttingMirror{}

// Cut implements ports.Cutter. The members' heads have the names of their replicas, or in-flight
// names of these.
func (m CuttingMirror) Cut(ctx context.Context, run ports.Run, name string, attributes domain.Attributes) (string, error) {
	var members []*member
	err := m.carryOut(ctx, Call{Method: "cut", Name: name}, "take snapshot "+name+" of all members", func() error {
		for _, it := range m.members {
			if it.lost == nil {
				members = append(members, it)
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	taken := make(map[*member]string)
	for _, it := range members {
		replica := it.host.nameOf(it.uuid)
		if of, inFlight := domain.ReplicaInFlight(replica); inFlight {
			replica = of
		}
		snapshot, err := it.host.Snapshot(ctx, it.uuid, domain.SnapshotLvolName(replica, name), attributes)
		if err != nil {
			return "", m.wrap("take snapshot "+name, errors.Join(err, m.undo(taken)))
		}
		taken[it] = snapshot
	}
	return name, nil
}

// undo merges the snapshots into their heads.
func (m CuttingMirror) undo(taken map[*member]string) error {
	var failed []error
	for it, snapshot := range taken {
		if err := it.host.DeleteMerging(snapshot); err != nil {
			failed = append(failed, fmt.Errorf("it is left on member %s: %w", it.name(), err))
		}
	}
	return errors.Join(failed...)
}
