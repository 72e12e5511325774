package scenario

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// destinationConfig makes the store as large as what will be on it and what is
// to be free then.
func (s *Scenario) destinationConfig(l *layout) memory.Config {
	config := memory.Config{
		Name:        "disk-2",
		UUID:        DestinationStoreUUID,
		ClusterSize: l.clusterSize,
		Seed:        2,
	}
	if s.Destination.Upstream {
		config.Flavour = memory.Upstream
	}
	free := plenty(l.clusterSize)
	if s.Destination.FreeClusters != nil {
		free = *s.Destination.FreeClusters
	}
	config.TotalClusters = l.used() + free
	if config.TotalClusters == 0 {
		config.TotalClusters = 1 // see occupy
	}
	return config
}

// used is how many clusters a layout takes.
func (l *layout) used() uint64 {
	var used uint64
	for _, v := range l.lvols {
		used += length(v.own)
	}
	return used / l.clusterSize
}

// occupy makes a store full that is to have nothing on it and no free cluster:
// there are no stores without a cluster, so somebody else's lvol takes the one.
func (s *Scenario) occupy(ctx context.Context, host *memory.Host, l *layout) error {
	free := s.Destination.FreeClusters
	if free == nil || l.used()+*free > 0 {
		return nil
	}
	uuid, err := host.Create(ctx, fmt.Sprintf("%coccupied", builtMark), l.clusterSize)
	if err == nil {
		err = host.WriteAt(uuid, []byte{1}, 0)
	}
	if err != nil {
		return s.errorAt("destination.freeClusters", "cannot be built: %v", err)
	}
	return nil
}
