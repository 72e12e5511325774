package domain

// ReplicaOfLvolName is the replica that an lvol of that name belongs to, judged by
// names alone. An entry point belongs to the replica that it is named after. A name that is
// neither of these, nor a snapshot's, nor one in flight is a head's.
//
// "vol-1-snap-x-snap-y" may be snapshot x-snap-y of vol-1 or y of vol-1-snap-x. Kin
// are the names of lvols that are, or may be, the same replica's: the reading that
// they support most is taken, and of equal ones the shortest replica name, since
// users choose names of snapshots, while the engine names replicas.
func ReplicaOfLvolName(name string, kin ...string) string {
	support := make(map[string]int)
	for _, k := range kin {
		for _, replica := range replicasOfName(k) {
			support[replica]++
		}
	}
	candidates := replicasOfName(name) // the shortest first
	best := candidates[0]
	for _, candidate := range candidates {
		if support[candidate] > support[best] {
			best = candidate
		}
	}
	return best
}

func replicasOfName(name string) []string {
	if replica, ok := ReplicaInFlight(name); ok {
		return []string{replica}
	}
	if replica, _, ok := entryPointOf(name); ok {
		return []string{replica}
	}
	var found []string
	for _, r := range snapshotReadings(name) {
		found = append(found, r.replica)
	}
	if len(found) == 0 {
		return []string{name}
	}
	return found
}
