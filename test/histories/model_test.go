package histories

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
)

// The model is a user's knowledge of volumes. It has no own clusters, no parents and no
// plans: a write changes the bytes that are read, a snapshot keeps them, and a replica has
// the same bytes or is not complete.

const (
	clusterSize = 512
	cellSize    = clusterSize / 2 // so that a write may touch only a part of a cluster
	perCluster  = clusterSize / cellSize
)

// token is the content of one cell; each is written once. 0: the cell was never written.
type token uint64

// torn is the content of a cell that no write has written.
const torn = ^token(0)

// view is the content of an lvol, cell by cell.
type view []token

// bytes are the bytes of the view on a store.
func (v view) bytes() []byte {
	p := make([]byte, len(v)*cellSize)
	for i, t := range v {
		binary.LittleEndian.PutUint64(p[i*cellSize:], uint64(t))
	}
	return p
}

func viewOf(p []byte) view {
	v := make(view, len(p)/cellSize)
	for i := range v {
		cell := p[i*cellSize : (i+1)*cellSize]
		v[i] = token(binary.LittleEndian.Uint64(cell))
		if slices.ContainsFunc(cell[8:], func(b byte) bool { return b != 0 }) {
			v[i] = torn
		}
	}
	return v
}

// resized is the view with that length; new cells are empty.
func (v view) resized(cells int) view {
	longer := make(view, cells)
	copy(longer, v)
	return longer
}

func (v view) clusters() int { return (len(v) + perCluster - 1) / perCluster }

// state is what the model expects of a replica.
type state int

const (
	complete state = iota // it has the bytes of the volume
	hurt                  // its ancestor has lost its base
	lost                  // leftovers of a replica that must be rebuilt
)

func (s state) String() string { return []string{"whole", "hurt", "lost"}[s] }

// volume is a volume as its user knows it.
type volume struct {
	name           string
	image          *image  // nil: none
	origin         *origin // nil: it is no linked clone
	head           view
	snapshots      map[string]view // of all replicas
	replicas       []*replica
	snapshotsTaken int // snapshots so far
}

// replica is a replica of a volume on one target.
type replica struct {
	of        *volume
	name      string
	at        *target
	state     state
	snapshots map[string]bool // that it has, if it is not lost

	// root is the name of the ancestor's parent, if it is hurt; "": none.
	root string

	// mangled: it is lost, and its snapshots may read wrong bytes.
	mangled bool

	// untidy: a failed operation on it may have left in-flight lvols.
	untidy bool

	// odd: a change of the others was refused or failed here. It has the same bytes, but
	// its parents may differ.
	odd bool
}

// image is a backing image.
type image struct {
	name string
	uuid string
	view view
	on   map[*target]bool
}

// base is the volume's base, as the engine is told of it.
func (v *volume) base() domain.Base {
	switch {
	case v.image != nil:
		return domain.ImageBase(v.image.name)
	case v.origin != nil:
		return domain.CloneBase(v.origin.volume.name, v.origin.snapshot)
	default:
		return domain.NoBase()
	}
}

func (v *volume) size() uint64 { return uint64(len(v.head)) * cellSize }

// serving are the replicas that writes go to.
func (v *volume) serving() []*replica { return v.in(complete, hurt) }

func (v *volume) in(states ...state) []*replica {
	var found []*replica
	for _, r := range v.replicas {
		if slices.Contains(states, r.state) {
			found = append(found, r)
		}
	}
	return found
}

// dropUnusedSnapshots removes snapshots that no replica has any more.
func (v *volume) dropUnusedSnapshots() {
	for name := range v.snapshots {
		if !slices.ContainsFunc(v.replicas, func(r *replica) bool { return r.state != lost && r.snapshots[name] }) {
			delete(v.snapshots, name)
		}
	}
}

// names are the names of the snapshots of the serving replicas.
func (v *volume) names() []string { return slices.Sorted(maps.Keys(v.snapshots)) }

func (r *replica) String() string { return r.name + " on " + r.at.name }

func (r *replica) prefix() string { return r.name + "-snap-" }

// read reads all bytes of an lvol.
func read(host *memory.Host, l domain.Lvol) view {
	p := make([]byte, l.Size)
	if err := host.ReadAt(l.UUID, p, 0); err != nil {
		fail("read %s: %v", l.Name, err)
	}
	return viewOf(p)
}
