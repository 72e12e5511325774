package domain

import (
	"fmt"
	"time"
)

// Store is one consistent look at a host's lvstore: what it is like and every
// lvol on it, whoever's it is.
type Store struct {
	UUID          string // of the lvstore; part of the names of its backing images
	Name          string
	ClusterSize   uint64 // bytes
	BlockSize     uint64 // bytes
	TotalClusters uint64
	FreeClusters  uint64
	NameLimit     int // bytes that an lvol's name may have; 0: no limit

	// Proves: the host tells maps and checksums of own clusters.
	Proves bool
	// Records: the host keeps attributes of snapshots and the record of heads.
	Records bool

	Lvols []Lvol
}

// Lvol is one logical volume as its host lists it.
type Lvol struct {
	UUID   string
	Name   string
	Parent string // UUID of the lvol that it reads through to; "": none
	Size   uint64 // bytes, as its readers see it

	// ReadOnly tells a snapshot from a writable lvol, also where the store
	// has forgotten to list it as one.
	ReadOnly bool
	Own      Clusters

	Attributes Attributes  // of a snapshot
	Record     string      // of a head: the name of its backing image, RecordNoImage, or "" for none written
	Image      ImageRecord // of a backing image
}

// Clusters are the clusters that an lvol has allocated itself; everything
// else it reads from its parent.
type Clusters struct {
	Count uint64
	// Map and Checksum are opaque: equal maps are equal positions. They prove
	// something only together, since SPDK's checksum does not cover positions.
	// Both are "" where nothing is proven.
	Map      string
	Checksum string
}

// Proven reports whether the host has told map and checksum.
func (c Clusters) Proven() bool { return c.Map != "" && c.Checksum != "" }

// provenEqual reports whether both are proven, and equal.
func (c Clusters) provenEqual(other Clusters) bool {
	return c.Proven() && other.Proven() && c == other
}

// Attributes are what a host records of a snapshot besides its data.
type Attributes struct {
	CreatedAt   time.Time // UTC, whole seconds; zero where it is not recorded
	UserCreated bool
}

// Equal compares what is recorded; times to the second, as hosts keep them.
func (a Attributes) Equal(b Attributes) bool {
	return a.UserCreated == b.UserCreated && a.CreatedAt.Unix() == b.CreatedAt.Unix()
}

// ImageRecord is what a host records of a backing image.
type ImageRecord struct {
	UUID     string // of the image, the same on every host
	Checksum string // SHA-512 of the image's bytes

	// Unready is what is recorded of an image that was not finished, in the words
	// of who made it: Longhorn gives one whose download has failed its final name,
	// and the checksum that it should have had. "": it is whole, or nothing is told.
	Unready string
}

// RecordNoImage is the record of a head whose volume has no backing image.
const RecordNoImage = "none"

// Clusters is the number of clusters that size bytes need.
func (s Store) Clusters(size uint64) uint64 {
	if s.ClusterSize == 0 {
		return 0
	}
	n := size / s.ClusterSize
	if size%s.ClusterSize != 0 {
		n++
	}
	return n
}

// index finds lvols of a store by UUID, and what hangs on what. It holds
// positions in Store.Lvols: trees are large, and a position is found faster
// than a UUID.
type index struct {
	store   Store
	byUUID  map[string]int
	parents []int // of each lvol; noParent: none
}

const noParent = -1

// newIndex refuses listings that contradict themselves.
func newIndex(store Store) (*index, error) {
	x := &index{
		store:  store,
		byUUID: make(map[string]int, len(store.Lvols)),
	}
	names := make(map[string]bool, len(store.Lvols))
	for i := range store.Lvols {
		l := &store.Lvols[i]
		if l.UUID == "" {
			return nil, fmt.Errorf("lvstore %s lists lvol %s without a UUID", store.Name, l.Name)
		}
		if _, twice := x.byUUID[l.UUID]; twice {
			return nil, fmt.Errorf("lvstore %s lists UUID %s twice", store.Name, l.UUID)
		}
		x.byUUID[l.UUID] = i
		if l.Name != "" && names[l.Name] {
			return nil, fmt.Errorf("lvstore %s lists the name %s twice", store.Name, l.Name)
		}
		names[l.Name] = true
	}
	x.parents = make([]int, len(store.Lvols))
	for i := range store.Lvols {
		l := &store.Lvols[i]
		x.parents[i] = noParent
		if l.Parent == "" {
			continue
		}
		parent, known := x.byUUID[l.Parent]
		if !known {
			return nil, fmt.Errorf("lvstore %s: the parent %s of lvol %s is not listed", store.Name, l.Parent, l.Name)
		}
		x.parents[i] = parent
	}
	if err := x.refuseCycles(); err != nil {
		return nil, err
	}
	return x, nil
}

// lvol is the lvol of that UUID, not to be changed; nil where there is none.
func (x *index) lvol(uuid string) *Lvol {
	if uuid == "" {
		return nil
	}
	i, ok := x.byUUID[uuid]
	if !ok {
		return nil
	}
	return &x.store.Lvols[i]
}

// parentOf is what the lvol at that position hangs on; nil for nothing.
func (x *index) parentOf(at int) (parent *Lvol, position int) {
	position = x.parents[at]
	if position == noParent {
		return nil, noParent
	}
	return &x.store.Lvols[position], position
}

// refuseCycles walks up from every lvol once; a walk that meets itself is a
// cycle, which SPDK accepts and then hangs on.
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
				return fmt.Errorf("lvstore %s: the parents of lvol %s go round in a circle", x.store.Name, x.store.Lvols[i].Name)
			}
		}
	}
	return nil
}
