package ports

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Source is the part of Host that a source of rebuilds needs, such as a remote or a
// read-only host. It may also be a Prover, so that equal snapshots are not copied, a
// Counter, an Opener, so that bytes can be compared, a Claimer or a Leaser, so that other
// processes do not change its replicas, a Collector and an Ender.
//
// If a Source is no Snapshotter, no rebuild is planned from a replica whose head has data
// of its own, which must become a snapshot first. Beside another source it still serves
// copies of its snapshots.
type Source interface {
	Looker
	Sender
	Releaser
}

// SourceOnly turns a Source into a Host. The engine refuses changes to it.
func SourceOnly(source Source) Host { return sourceOnly{source} }

type sourceOnly struct{ Source }

const onlySource = "be anything but a source"

func (s sourceOnly) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	if snapshotter, ok := s.Source.(Snapshotter); ok {
		return snapshotter.Snapshot(ctx, uuid, name, attributes)
	}
	return "", Cannot("take snapshots")
}

func (sourceOnly) Create(context.Context, string, uint64) (string, error) {
	return "", Cannot(onlySource)
}

func (sourceOnly) Graft(context.Context, string, string) error { return Cannot(onlySource) }

func (sourceOnly) Seal(context.Context, string, string, SealRecord) (string, error) {
	return "", Cannot(onlySource)
}

func (sourceOnly) Clone(context.Context, string, string, uint64, string) (string, error) {
	return "", Cannot(onlySource)
}

func (sourceOnly) Delete(context.Context, string) error { return Cannot(onlySource) }

func (sourceOnly) Receive(context.Context, Run, string, Peer) (Address, error) {
	return "", Cannot(onlySource)
}

func (sourceOnly) Withdraw(context.Context, Run, string) error { return Cannot(onlySource) }
