package domain

import "strings"

// Longhorn (v2 data engine) reserves some forms of names for features of its own. An
// lvol with such a name belongs to no replica, and this engine creates none.
const (
	linkedCloneInfix = "-clone-ep-"   // entry points of linked clones
	cloningSuffix    = "-cloning"     // a replica that a clone of a volume fills
	cloningTmpSuffix = "-cloning-tmp" // a helper of that
	tmpHeadSuffix    = "-tmp-head"
	expiredInfix     = "-expired-" // <replica>-expired-…
	shardPrefix      = "shard-"    // shard-<volume>-<number>

	replicaIDLength = 8 // of Longhorn's <volume>-r-<8 letters and digits>
)

// reservedLvolForm is the reserved form of an lvol's name, of whatever replica; "":
// none.
func reservedLvolForm(name string) string {
	switch {
	case strings.Contains(name, linkedCloneInfix):
		return "…" + linkedCloneInfix + "…"
	case strings.HasSuffix(name, cloningSuffix):
		return "…" + cloningSuffix
	case strings.HasSuffix(name, cloningTmpSuffix):
		return "…" + cloningTmpSuffix
	case strings.HasSuffix(name, tmpHeadSuffix):
		return "…" + tmpHeadSuffix
	}
	return ""
}

// reservedReplicaForm is the reserved form of a replica's name; "": none. A volume may
// itself be called "shard-1" or "x-r-0a1b2c3d-expired-y", so every name that Longhorn
// loads as a replica is allowed.
func reservedReplicaForm(name string) string {
	if form := reservedLvolForm(name); form != "" {
		return form
	}
	switch {
	case isLonghornReplica(name):
		return ""
	case isShard(name):
		return shardPrefix + "VOLUME-N"
	case isExpired(name):
		return "REPLICA" + expiredInfix + "…"
	}
	return ""
}

// isShard: shard-<volume>-<number>.
func isShard(name string) bool {
	rest, ok := strings.CutPrefix(name, shardPrefix)
	i := strings.LastIndexByte(rest, '-')
	return ok && i > 0 && i+1 < len(rest) && strings.Trim(rest[i+1:], "0123456789") == ""
}

// isExpired: <replica>-expired-<something>.
func isExpired(name string) bool {
	replica, rest, ok := strings.Cut(name, expiredInfix)
	if !ok || rest == "" {
		return false
	}
	_, ok = VolumeOfReplica(replica)
	return ok
}

// isLonghornReplica: Longhorn loads only lvols named <volume>-r-<8 letters and digits>
// as replicas.
func isLonghornReplica(name string) bool {
	i := len(name) - replicaIDLength - len(replicaInfix)
	if i <= 0 || name[i:i+len(replicaInfix)] != replicaInfix {
		return false
	}
	for _, c := range []byte(name[i+len(replicaInfix):]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
