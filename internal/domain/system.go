package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// isSystemSnapshot reports whether a snapshot has a name that systemSnapshot or CutName gives.
func isSystemSnapshot(name string) bool {
	id, ok := strings.CutPrefix(name, systemSnapPrefix)
	return ok && isID(id) || isCut(name)
}

// CutName is the name of a cut with that ID of 8 hex digits.
func CutName(id string) string { return cutPrefix + id }

// CutID is the ID in the name of a cut.
func CutID(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, cutPrefix)
	return id, ok && isID(id)
}

func isCut(name string) bool {
	_, ok := CutID(name)
	return ok
}

// systemSnapshot names the snapshot that a head with clusters of its own needs. The
// name is derived from the UUIDs of the head and its parent, so a repeated run uses
// the same one.
func (r Replica) systemSnapshot() SystemSnapshot {
	taken := make(map[string]bool, len(r.Snapshots))
	for _, s := range r.Snapshots {
		taken[s.Name] = true
	}
	for n := 0; ; n++ {
		seed := r.Head.UUID + "/" + r.Head.Parent
		if n > 0 { // a sibling was taken from the same head on the same parent
			seed += fmt.Sprintf("/%d", n)
		}
		sum := sha256.Sum256([]byte(seed))
		name := systemSnapPrefix + hex.EncodeToString(sum[:4])
		if !taken[name] {
			return SystemSnapshot{Head: *r.Head, Name: name, LvolName: SnapshotLvolName(r.Name, name)}
		}
	}
}
