package scenario

import "github.com/rootgraft/rebuild/internal/adapters/memory"

// destinationConfig makes the store large enough for its lvols and the free clusters.
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
	config.NoClusters = config.TotalClusters == 0
	return config
}

// used is the number of clusters of a layout.
func (l *layout) used() uint64 {
	var used uint64
	for _, v := range l.lvols {
		used += length(v.own)
	}
	return used / l.clusterSize
}
