package ports

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Source is what a host does that replicas are rebuilt from, and no more: a remote or a
// read-only one need not implement Host. It may be a Prover, so that what is known to be
// equal is not copied, a Counter, an Opener, so that views can be compared, a Claimer or
// a Leaser, so that other processes leave its replicas alone, a Collector and an Ender.
//
// It need not be a Snapshotter. If it is none, a replica whose head has data of its own,
// which has to become a snapshot first, is refused as a source.
type Source interface {
	Looker
	Sender
	Releaser
}

// SourceOnly makes a host of a Source. The engine refuses what would change it.
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
