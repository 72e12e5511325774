package spdk

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/rootgraft/rebuild/internal/domain"
)

var (
	inFlightSuffix = regexp.MustCompile(`-rebuilding(-[0-9a-f]{8})?$`)
	imageInFlight  = regexp.MustCompile(`^bi-rebuilding-[0-9a-f]{8}$`)
)

// helperName is a new name for a helper lvol that is made for the sake of
// another one: an in-flight name of the same replica, so that the replica's
// next run removes what a crash has left. Kin are the names of lvols that are,
// or may be, the same replica's: the parent, the clones.
func (h *Host) helperName(name string, kin ...string) string {
	if _, image := domain.ImageOfLvolName(name, h.store.UUID); image || imageInFlight.MatchString(name) {
		return domain.ImageInFlightLvolName(newID())
	}
	return domain.InFlightLvolName(replicaOf(name, kin...), newID())
}

// replicaOf is the replica that an lvol of that name belongs to.
//
// "vol-1-snap-x-snap-y" may be snapshot x-snap-y of vol-1 or y of vol-1-snap-x.
// The reading that the kin's names support most is taken, and of equal ones the
// shortest replica name: users choose names of snapshots, replicas are named by
// the engine.
func replicaOf(name string, kin ...string) string {
	candidates := replicasOf(name)
	best, support := candidates[0], -1
	for _, candidate := range candidates {
		n := 0
		for _, k := range kin {
			for _, other := range replicasOf(k) {
				if other == candidate {
					n++
				}
			}
		}
		if n > support {
			best, support = candidate, n
		}
	}
	return best
}

// replicasOf are the replicas that an lvol of that name may belong to, shortest
// first. A name that is no snapshot's is a head's.
func replicasOf(name string) []string {
	if at := inFlightSuffix.FindStringIndex(name); at != nil && at[0] > 0 {
		return []string{name[:at[0]]}
	}
	const infix = "-snap-"
	var found []string
	for i := 1; i+len(infix) < len(name); i++ {
		if strings.HasPrefix(name[i:], infix) {
			found = append(found, name[:i])
		}
	}
	if len(found) == 0 {
		return []string{name}
	}
	return found
}

// newID is 8 hex digits.
func newID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
