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
