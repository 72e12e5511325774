package domain

import "fmt"

// SpaceWarnings warns of stores that can become full while a plan is carried out that cuts the volume: what clients overwrite after
// the cut is allocated anew, since the snapshots keep the old clusters.
func (v LiveVolume) SpaceWarnings(destination Replica, plan Plan) (warnings []string) {
	var order []Listing
	need := make(map[string]uint64) // clusters by the UUID of a store
	add := func(store Listing, clusters uint64) {
		if _, known := need[store.UUID]; !known {
			order = append(order, store)
		}
		need[store.UUID] += clusters
	}
	for _, r := range v.Replicas {
		add(r.Store, r.Head.Size/r.Store.ClusterSize)
	}
	add(destination.Store, v.Replicas[v.Primary].Head.Size/destination.Store.ClusterSize)
	for _, o := range plan.Operations {
		if o.Verb == VerbCopy {
			add(destination.Store, o.Source.Clusters)
		}
	}
	for _, store := range order {
		free := store.FreeClusters
		if store.UUID == destination.Store.UUID {
			for _, d := range plan.Deletions {
				free += d.Clusters
			}
		}
		if free < need[store.UUID] {
			warnings = append(warnings, fmt.Sprintf("the rebuild and clients that write meanwhile can take %d clusters of lvstore %s, but %d are free: the mirror drops a replica whose lvstore is full",
				need[store.UUID], store.Name, free))
		}
	}
	return warnings
}
