package ports

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Prover is implemented by hosts that tell maps and checksums.
type Prover interface {
	// Prove returns the own clusters of the snapshots, by UUID, with map and
	// checksum; checksums that are missing are computed, which reads the data.
	// What cannot be proven (gone meanwhile, writable) is left out.
	// ErrUnsupported where this host has no such thing.
	Prove(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error)
}

// KnownProver is implemented by Provers that can tell what they know already.
type KnownProver interface {
	// ProveKnown is Prove, but changes nothing: it leaves out snapshots whose
	// checksums would have to be computed, and those that would have to be woken.
	ProveKnown(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error)
}
