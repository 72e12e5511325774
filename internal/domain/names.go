package domain

import (
	"fmt"
	"strings"
)

// Lvols have Longhorn's names (v2 data engine), so that its volumes can be rebuilt
// and Longhorn can read ours.
const (
	snapshotInfix    = "-snap-"
	inFlightSuffix   = "-rebuilding" // Longhorn's own; ours adds "-" and 8 hex digits
	imagePrefix      = "bi-"
	imageInfix       = "-disk-"
	imageTempSuffix  = "-temp-head" // while Longhorn downloads it
	imageInFlight    = "bi-rebuilding-"
	systemSnapPrefix = "rebuild-"
	cutPrefix        = systemSnapPrefix + "cut-"

	noParentName = "none" // in scenarios
	replicaInfix = "-r-"  // Longhorn's <volume>-r-<replica>
)

// SnapshotLvolName is the name of a replica's snapshot on the store.
func SnapshotLvolName(replica, snapshot string) string { return replica + snapshotInfix + snapshot }

// InFlightLvolName is the name of an lvol that is being filled. id is 8 hex digits, a
// new one for every lvol.
func InFlightLvolName(replica, id string) string { return replica + inFlightSuffix + "-" + id }

// ImageLvolName is the name of a backing image on the lvstore with that UUID.
func ImageLvolName(image, storeUUID string) string {
	return imagePrefix + image + imageInfix + storeUUID
}

// ImageInFlightLvolName is the name of a backing image that is being filled.
func ImageInFlightLvolName(id string) string { return imageInFlight + id }

// ImageOfLvolName is the image that an lvol of that name holds; ok is false if it is
// not the name of a finished image on the lvstore with that UUID.
func ImageOfLvolName(name, storeUUID string) (image string, ok bool) {
	rest, ok := strings.CutPrefix(name, imagePrefix)
	if !ok {
		return "", false
	}
	image, ok = strings.CutSuffix(rest, imageInfix+storeUUID)
	return image, ok && image != ""
}

// IsImageInFlight reports whether an lvol of that name is a backing image that a run
// of this engine fills, or has left.
func IsImageInFlight(name string) bool {
	id, ok := strings.CutPrefix(name, imageInFlight)
	return ok && isID(id)
}

// ReplicaInFlight is the replica that an in-flight lvol of that name belongs to; ok is
// false if the name is no in-flight lvol's.
func ReplicaInFlight(name string) (replica string, ok bool) {
	i := strings.LastIndex(name, inFlightSuffix)
	if i <= 0 {
		return "", false
	}
	rest := name[i+len(inFlightSuffix):]
	return name[:i], rest == "" || rest[0] == '-' && isID(rest[1:])
}

// VolumeOfReplica is the volume of a replica of that name, if it has Longhorn's form
// <volume>-r-<something>.
func VolumeOfReplica(replica string) (volume string, ok bool) {
	i := strings.LastIndex(replica, replicaInfix)
	if i <= 0 || i+len(replicaInfix) == len(replica) {
		return "", false
	}
	return replica[:i], true
}

// isID recognizes the 8 hex digits that in-flight names end in.
func isID(s string) bool {
	if len(s) != 8 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// isPlainName: letters, digits, '.', '_' and '-', a letter or digit first.
func isPlainName(name string) bool {
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return name != ""
}

func endsInFlight(name string) bool {
	if !strings.Contains(name, inFlightSuffix) {
		return strings.HasSuffix(name, imageTempSuffix)
	}
	_, inFlight := ReplicaInFlight(name)
	return inFlight || strings.HasSuffix(name, imageTempSuffix)
}

// CheckReplicaName returns an error if no replica may have that name.
func CheckReplicaName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a replica needs a name")
	case !isPlainName(name):
		return fmt.Errorf("replica name %q: expected letters, digits, '.', '_' and '-', a letter or digit first", name)
	case name+"-" == imagePrefix:
		return fmt.Errorf("replica name %q: its in-flight lvols would look like backing images", name)
	case endsInFlight("x" + name):
		return fmt.Errorf("replica name %q: names that end like this are reserved for in-flight lvols", name)
	}
	if form := reservedReplicaForm(name); form != "" {
		return fmt.Errorf("replica name %q: Longhorn reserves names of the form %s", name, form)
	}
	return nil
}

// CheckSnapshotName returns an error if no new snapshot may have that name.
func CheckSnapshotName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a snapshot needs a name")
	case name == noParentName:
		return fmt.Errorf("snapshot name %q: it is reserved for \"no parent\"", name)
	case !isPlainName(name):
		return fmt.Errorf("snapshot name %q: expected letters, digits, '.', '_' and '-', a letter or digit first", name)
	case endsInFlight("x-" + name):
		return fmt.Errorf("snapshot name %q: names that end in %s or %s are reserved for in-flight lvols", name, inFlightSuffix, imageTempSuffix)
	}
	form := reservedLvolForm("x-" + name)
	switch {
	case form != "":
	case isShard(name):
		form = shardPrefix + "VOLUME-N"
	case strings.Contains("-"+name, expiredInfix):
		form = "…" + expiredInfix + "…"
	}
	if form != "" {
		return fmt.Errorf("snapshot name %q: Longhorn reserves names of the form %s", name, form)
	}
	return nil
}

// CheckImageName returns an error if no backing image may have that name.
func CheckImageName(name string) error {
	if !isPlainName(name) {
		return fmt.Errorf("backing image name %q: expected letters, digits, '.', '_' and '-', a letter or digit first", name)
	}
	if name == RecordNoBase {
		return fmt.Errorf("backing image name %q: it is reserved for \"no backing image\"", name)
	}
	return nil
}

// checkCloneNames returns an error if no linked clone can have that base.
func checkCloneNames(volume, snapshot string) error {
	if !isPlainName(volume) {
		return fmt.Errorf("volume name %q: expected letters, digits, '.', '_' and '-', a letter or digit first", volume)
	}
	if !isPlainName(snapshot) {
		return fmt.Errorf("snapshot name %q: expected letters, digits, '.', '_' and '-', a letter or digit first", snapshot)
	}
	return nil
}

type role int

const (
	roleForeign role = iota
	roleHead
	roleSnapshot
	roleInFlight
)

// reading is one interpretation of an lvol's name.
type reading struct {
	replica  string
	role     role
	snapshot string
}

// readings are all interpretations of an lvol's name. There can be several: the
// snapshot "vol-1-snap-x-snap-y" is "x-snap-y" of replica vol-1, or "y" of replica
// vol-1-snap-x. Only lineage can decide. Names that Longhorn reserves for other
// features belong to no replica, so they have none.
func readings(l Lvol) []reading {
	if reservedLvolForm(l.Name) != "" {
		return nil
	}
	var found []reading
	add := func(r reading) {
		if reservedReplicaForm(r.replica) == "" {
			found = append(found, r)
		}
	}
	replica, inFlight := ReplicaInFlight(l.Name)
	if inFlight {
		add(reading{replica: replica, role: roleInFlight})
	}
	if l.ReadOnly || l.Degraded {
		for _, r := range snapshotReadings(l.Name) {
			add(r)
		}
	}
	// A degraded lvol may or may not be a snapshot.
	if !inFlight && (!l.ReadOnly || l.Degraded) {
		add(reading{replica: l.Name, role: roleHead})
	}
	return found
}

func snapshotReadings(name string) (found []reading) {
	for from := 0; ; {
		i := strings.Index(name[from:], snapshotInfix)
		if i < 0 {
			return found
		}
		i += from
		replica, snapshot := name[:i], name[i+len(snapshotInfix):]
		if replica != "" && snapshot != "" {
			found = append(found, reading{replica: replica, role: roleSnapshot, snapshot: snapshot})
		}
		from = i + 1
	}
}

// readingFor interprets the name as one of the replica's.
func readingFor(l Lvol, replica string) (reading, bool) {
	if !strings.HasPrefix(l.Name, replica) {
		return reading{}, false
	}
	return readingOf(readings(l), replica)
}

func readingOf(all []reading, replica string) (reading, bool) {
	for _, r := range all {
		if r.replica == replica {
			return r, true
		}
	}
	return reading{}, false
}
