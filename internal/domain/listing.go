package domain

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Listing is a consistent list of a host's lvstore: its properties and all lvols
// on it, whoever owns them.
type Listing struct {
	UUID          string // of the lvstore; part of the names of its backing images
	Name          string
	ClusterSize   uint64 // bytes
	BlockSize     uint64 // bytes
	TotalClusters uint64
	FreeClusters  uint64
	NameLimit     int // bytes that an lvol's name may have; 0: no limit

	// Proves: the host reports maps and checksums of own clusters.
	Proves bool
	// Records: the host keeps attributes of snapshots and the record of a head.
	Records bool
	// RenamesSnapshots: the host renames snapshots, also those with clones. Others may
	// still rename writable lvols.
	RenamesSnapshots bool

	Lvols []Lvol
}

// Lvol is one logical volume as its host lists it.
type Lvol struct {
	UUID   string
	Name   string
	Parent string // UUID of the lvol that it reads through to; "": none
	Size   uint64 // bytes, as its readers see it

	// External is the name of the bdev outside of the lvstore that it reads
	// through to: in SPDK's words it is a clone of an external snapshot. "": none.
	External string

	// Degraded: the external snapshot that it or one of its ancestors reads
	// through to is missing, so the host cannot open it. Size, parent, own clusters
	// and records are unknown, and ReadOnly means only that it may have clones.
	Degraded bool

	// ReadOnly distinguishes a snapshot from a writable lvol, also if the store
	// fails to list it as a snapshot.
	ReadOnly bool
	Own      Clusters

	Attributes Attributes  // of a snapshot
	Record     string      // of a head: the name of its backing image, RecordNoBase, or "" for none written
	Image      ImageRecord // of a backing image

	UsedBy User // who uses it besides this engine's runs; the zero User: nobody, or the host cannot tell
}

// Clusters are the clusters that an lvol has allocated itself. It reads all others
// from its parent.
type Clusters struct {
	Count uint64
	// Map and Checksum are opaque: equal maps mean equal positions. They prove
	// equality only together, since SPDK's checksum does not cover positions. Both
	// are "" if nothing is proven.
	Map      string
	Checksum string
}

// Proven reports whether the host has reported map and checksum.
func (c Clusters) Proven() bool { return c.Map != "" && c.Checksum != "" }

// provenEqual reports whether both are proven, and equal.
func (c Clusters) provenEqual(other Clusters) bool {
	return c.Proven() && other.Proven() && c == other
}

// Attributes are the metadata that a host records of a snapshot.
type Attributes struct {
	CreatedAt   time.Time // UTC, whole seconds; zero where it is not recorded
	UserCreated bool
}

// Equal compares the recorded attributes, times to the second, as hosts keep them.
func (a Attributes) Equal(b Attributes) bool {
	return a.UserCreated == b.UserCreated && a.CreatedAt.Unix() == b.CreatedAt.Unix()
}

// ImageRecord is the metadata that a host records of a backing image.
type ImageRecord struct {
	UUID     string // of the image, the same on every host
	Checksum string // SHA-512 of the image's bytes

	// Unready is the recorded state of an unfinished image, as its maker wrote it:
	// Longhorn gives an image whose download has failed its final name and the
	// checksum that it should have had. "": it is complete, or nothing is recorded.
	Unready string
}

// RecordNoBase is the record of a head whose volume has no backing image.
const RecordNoBase = "none"

// Clusters is the number of clusters that size bytes need.
func (s Listing) Clusters(size uint64) uint64 {
	if s.ClusterSize == 0 {
		return 0
	}
	n := size / s.ClusterSize
	if size%s.ClusterSize != 0 {
		n++
	}
	return n
}

// index finds lvols of a store and their parents. It holds positions in
// Listing.Lvols: trees are large, and a position is faster to look up than a UUID.
type index struct {
	store   Listing
	byName  []named // all, sorted
	byUUID  map[string]int
	parents []int // of each lvol; noParent: none
}

// named is the position of the lvol of that name.
type named struct {
	name string
	at   int
}

const (
	noPosition = -1 // no position
	noParent   = noPosition
)

// newIndex refuses listings that contradict themselves.
func newIndex(store Listing) (*index, error) {
	x := &index{store: store}
	for _, step := range []func() error{x.sortNames, x.findUUIDs, x.findParents, x.refuseCycles} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (x *index) sortNames() error {
	x.byName = make([]named, len(x.store.Lvols))
	for i := range x.store.Lvols {
		x.byName[i] = named{x.store.Lvols[i].Name, i}
	}
	slices.SortFunc(x.byName, func(a, b named) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(x.byName); i++ {
		if name := x.byName[i].name; name != "" && name == x.byName[i-1].name {
			return fmt.Errorf("lvstore %s lists the name %s twice", x.store.Name, name)
		}
	}
	return nil
}

func (x *index) findUUIDs() error {
	x.byUUID = make(map[string]int, len(x.store.Lvols))
	for i := range x.store.Lvols {
		l := &x.store.Lvols[i]
		if l.UUID == "" {
			return fmt.Errorf("lvstore %s lists lvol %s without a UUID", x.store.Name, l.Name)
		}
		if _, twice := x.byUUID[l.UUID]; twice {
			return fmt.Errorf("lvstore %s lists UUID %s twice", x.store.Name, l.UUID)
		}
		x.byUUID[l.UUID] = i
	}
	return nil
}

// findParents first tries the lvol listed just before: most chains are listed in
// the order in which they were created.
func (x *index) findParents() error {
	lvols := x.store.Lvols
	x.parents = make([]int, len(lvols))
	for i := range lvols {
		switch uuid := lvols[i].Parent; {
		case uuid != "" && lvols[i].External != "":
			return fmt.Errorf("lvstore %s lists lvol %s with two parents, lvol %s and external snapshot %s", x.store.Name, lvols[i].Name, uuid, lvols[i].External)
		case uuid == "":
			x.parents[i] = noParent
		case i > 0 && uuid == lvols[i-1].UUID:
			x.parents[i] = i - 1
		default:
			parent, known := x.byUUID[uuid]
			if !known {
				return fmt.Errorf("lvstore %s: the parent %s of lvol %s is not listed", x.store.Name, uuid, lvols[i].Name)
			}
			x.parents[i] = parent
		}
	}
	return nil
}

// refuseCycles follows the parents of every lvol once. A walk that meets itself
// is a cycle; SPDK accepts one and then hangs.
func (x *index) refuseCycles() error {
	const unseen = 0
	walkOf := make([]int, len(x.parents))
	for start := range x.parents {
		walk := start + 1
		for i := start; walkOf[i] == unseen; {
			walkOf[i] = walk
			if x.parents[i] == noParent {
				break
			}
			i = x.parents[i]
			if walkOf[i] == walk {
				return fmt.Errorf("lvstore %s: the parents of lvol %s form a cycle", x.store.Name, x.store.Lvols[i].Name)
			}
		}
	}
	return nil
}

// leafFirst lists the positions of the marked lvols, clones before their parents,
// otherwise by name: an lvol is deleted only when it has no clones left.
func (x *index) leafFirst(marked []bool) []int {
	clones := make([]int, len(x.parents)) // how many marked clones each lvol has
	count := 0
	for at, parent := range x.parents {
		if !marked[at] {
			continue
		}
		count++
		if parent != noParent {
			clones[parent]++
		}
	}
	ordered := make([]int, 0, count)
	for at := range x.parents {
		if marked[at] && clones[at] == 0 {
			ordered = append(ordered, at)
		}
	}
	lvols := x.store.Lvols
	slices.SortFunc(ordered, func(a, b int) int { return strings.Compare(lvols[a].Name, lvols[b].Name) })
	for next := 0; next < len(ordered); next++ {
		parent := x.parents[ordered[next]]
		if parent == noParent {
			continue
		}
		if clones[parent]--; marked[parent] && clones[parent] == 0 {
			ordered = append(ordered, parent)
		}
	}
	return ordered
}
