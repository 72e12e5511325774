package ports

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Prover is implemented by hosts that report maps and checksums.
type Prover interface {
	// Prove returns the own clusters of the snapshots, by UUID, with map and checksum.
	// Missing checksums are computed, which reads the data. Lvols that cannot be proven
	// (deleted meanwhile, writable) are left out.
	// ErrUnsupported if this host reports no maps and checksums.
	Prove(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error)
}

// KnownProver is implemented by Provers that can report existing checksums.
type KnownProver interface {
	// ProveKnown is Prove without any change to the host: it leaves out snapshots whose
	// checksums would have to be computed, and those that cannot be opened as they are.
	ProveKnown(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error)
}
