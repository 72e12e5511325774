package histories

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
)

// The model: what a user knows of his volumes. It has no clusters of anybody's
// own, no parents and no plans: a write changes what is read, a snapshot keeps
// what was read, and a replica shows the same or is not whole.

const (
	clusterSize = 512
	cellSize    = clusterSize / 2 // so that a write may touch a part of a cluster
	perCluster  = clusterSize / cellSize
)

// token is what one write left in one cell; each is written once. 0: nothing was
// ever written there.
type token uint64

// torn is what a cell reads that no write has left.
const torn = ^token(0)

// view is what is read, cell by cell.
type view []token

// bytes are what is written to a store for that view.
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

// long is the view at that length; what is new reads nothing.
func (v view) long(cells int) view {
	longer := make(view, cells)
	copy(longer, v)
	return longer
}

func (v view) clusters() int { return (len(v) + perCluster - 1) / perCluster }

// state is what the model expects of a replica.
type state int

const (
	whole state = iota // it shows the volume
	hurt               // it would, if its ancestor had its image
	lost               // whatever is left of it; to be rebuilt
)

func (s state) String() string { return []string{"whole", "hurt", "lost"}[s] }

// volume is what a user has.
type volume struct {
	name      string
	image     *image // nil: none
	head      view
	snapshots map[string]view // of all replicas
	replicas  []*replica
	taken     int // snapshots so far
}

// replica is one of a volume's on one site.
type replica struct {
	of        *volume
	name      string
	at        *site
	state     state
	snapshots map[string]bool // that it has, if it is not lost

	// An operation on it has failed that may have left something in flight.
	untidy bool

	// It was refused or failed what was done to others. It shows the same, but what
	// hangs on what may differ.
	odd bool
}

// image is a backing image.
type image struct {
	name string
	uuid string
	view view
	on   map[*site]bool
}

// domain is how the engine is told of a volume's image.
func (v *volume) imageSaid() domain.Image {
	if v.image == nil {
		return domain.NoImage()
	}
	return domain.ImageNamed(v.image.name)
}

func (v *volume) size() uint64 { return uint64(len(v.head)) * cellSize }

// serving are the replicas that a write reaches.
func (v *volume) serving() []*replica { return v.in(whole, hurt) }

func (v *volume) in(states ...state) []*replica {
	var found []*replica
	for _, r := range v.replicas {
		if slices.Contains(states, r.state) {
			found = append(found, r)
		}
	}
	return found
}

// forget drops the snapshots that no replica has any more.
func (v *volume) forget() {
	for name := range v.snapshots {
		if !slices.ContainsFunc(v.replicas, func(r *replica) bool { return r.state != lost && r.snapshots[name] }) {
			delete(v.snapshots, name)
		}
	}
}

// names are the snapshots that a serving replica has.
func (v *volume) names() []string { return slices.Sorted(maps.Keys(v.snapshots)) }

func (r *replica) String() string { return r.name + " on " + r.at.name }

func (r *replica) prefix() string { return r.name + "-snap-" }

// read is what is read through an lvol.
func read(host *memory.Host, l domain.Lvol) view {
	p := make([]byte, l.Size)
	if err := host.ReadAt(l.UUID, p, 0); err != nil {
		fail("read %s: %v", l.Name, err)
	}
	return viewOf(p)
}
