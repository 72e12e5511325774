package memory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Prove implements ports.Prover; an Upstream host returns ErrUnsupported. A map is a
// digest of the positions of the own clusters and of the lvol's length. A checksum is a
// decimal number that does not cover positions, as on a real target: the same bytes at
// other positions have the same one. It is stored once it is computed.
func (h *Host) Prove(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error) {
	return h.proveIf(ctx, snapshots, func(*lvol) bool { return true })
}

// ProveKnown implements ports.KnownProver.
func (h *Host) ProveKnown(ctx context.Context, snapshots []string) (map[string]domain.Clusters, error) {
	return h.proveIf(ctx, snapshots, func(l *lvol) bool { return l.checksum != "" })
}

func (h *Host) proveIf(ctx context.Context, snapshots []string, those func(*lvol) bool) (map[string]domain.Clusters, error) {
	var proven map[string]domain.Clusters
	what := fmt.Sprintf("prove %d snapshots", len(snapshots))
	err := h.carryOut(ctx, Call{Method: "prove"}, what, func() (change, error) {
		if h.config.Flavour == Upstream {
			return change{}, ports.ErrUnsupported
		}
		return change{apply: func() error {
			proven = make(map[string]domain.Clusters, len(snapshots))
			for _, uuid := range snapshots {
				if l, ok := h.lvols[uuid]; ok && l.readOnly && those(l) {
					proven[uuid] = h.prove(l)
				}
			}
			return nil
		}}, nil
	})
	return unlessLost(proven, err)
}

func (h *Host) prove(l *lvol) domain.Clusters {
	if l.checksum == "" {
		l.checksum = strconv.FormatUint(checksumOf(l.own, h.config.ClusterSize), 10)
	}
	return domain.Clusters{
		Count:    uint64(len(l.own)),
		Map:      mapOf(l.own, l.size/h.config.ClusterSize),
		Checksum: l.checksum,
	}
}

func mapOf(own map[uint64]cluster, length uint64) string {
	sum := sha256.New()
	writeUint64(sum, length)
	for _, i := range positions(own) {
		writeUint64(sum, i)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
