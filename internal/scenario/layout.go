package scenario

import (
	"fmt"
	"math"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// layout lists all lvols of one host's store, with the defaults filled in.
type layout struct {
	storeUUID   string
	clusterSize uint64 // bytes
	nameLimit   int    // bytes

	lvols []lvol
	order []int // positions in lvols, parents before children

	replica   string
	parents   string            // describes valid parents in errors
	base      int               // position of the parent of the replica's ancestor: its volume's image or entry point; noLvol if it is not on this host
	head      int               // position of the head, if there is one
	snapshots map[string]int    // positions of the replica's snapshots, by short name
	others    map[string]int    // positions of the other lvols on the store, by full name
	names     map[string]string // the fields that gave them, by name on the store
}

// lvol is one logical volume to build.
type lvol struct {
	field    string // that describes it
	label    string // its name as the file gives it
	name     string // on the store
	parent   int    // position in the layout; noLvol
	size     uint64 // bytes, whole clusters
	readOnly bool
	seal     ports.SealRecord // of a snapshot
	record   string           // of a head

	content
	own  []span // of the content
	uuid string // after it was built
}

// noLvol is the parent of an lvol without a parent.
const noLvol = -1

// layouts are those of both hosts.
type layouts struct {
	base                domain.Base
	source, destination *layout
	members             []*layout // beside the source
}

// layOut fills in the defaults and refuses impossible states. Every error is an *Error.
func (s *Scenario) layOut() (*layouts, error) {
	for _, check := range []func() error{s.checkVolume, s.checkOptions, s.checkFaults, s.checkOnline, s.checkBase} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	both := &layouts{base: imageBase(s.Image)}
	if s.Base != nil {
		both.base = domain.CloneBase(s.Base.Volume, s.Base.Snapshot)
	}
	var err error
	if both.source, err = s.layOutSource(both.base, s.seats()[0]); err != nil {
		return nil, err
	}
	if both.destination, err = s.layOutDestination(both.base, both.source); err != nil {
		return nil, err
	}
	if both.members, err = s.layOutMembers(both.base); err != nil {
		return nil, err
	}
	return both, s.checkCost(append(both.members, both.source, both.destination)...)
}

func newLayout(storeUUID string, clusterSize uint64, nameLimit int) *layout {
	return &layout{
		storeUUID:   storeUUID,
		clusterSize: clusterSize,
		nameLimit:   nameLimit,
		base:        noLvol,
		others:      make(map[string]int),
		names:       make(map[string]string),
	}
}

// begin makes the lvols that follow those of another replica of the store.
func (l *layout) begin(replica, parents string) {
	l.replica, l.parents, l.snapshots = replica, parents, make(map[string]int)
}

// add adds an lvol, whose parent may still be unknown, and returns its position.
// nameField is the field that gave the name.
func (l *layout) add(s *Scenario, v lvol, nameField string) (int, error) {
	if taken, ok := l.names[v.name]; ok {
		return 0, s.errorAt(nameField, "%s is taken by %s", quote(v.label), taken)
	}
	if len(v.name) > l.nameLimit {
		return 0, s.errorAt(nameField, "expected a name of at most %d bytes on this host, got %s with %d", l.nameLimit, quote(v.name), len(v.name))
	}
	for i, w := range v.writes {
		if !w.within(v.size) {
			return 0, s.errorAt(fmt.Sprintf("%s.writes[%d]", v.field, i), "expected to end within %s, got length %s at offset %s", formatSize(v.size), formatSize(w.Length), formatSize(w.Offset))
		}
	}
	v.own = v.content.ownSpans(v.size, l.clusterSize)
	l.names[v.name] = v.field
	l.lvols = append(l.lvols, v)
	return len(l.lvols) - 1, nil
}

func (s *Scenario) checkVolume() error {
	if err := checkName(s.Volume.Name, domain.CheckReplicaName); err != nil {
		return s.errorAt("volume.name", "%v", err)
	}
	for _, given := range []struct{ field, name string }{{"source.replica", s.Source.Replica}, {"destination.replica", s.Destination.Replica}} {
		if given.name == "" {
			continue
		}
		if err := checkName(given.name, domain.CheckReplicaName); err != nil {
			return s.errorAt(given.field, "%v", err)
		}
	}
	if err := checkClusterSize(s.clusterSize()); err != nil {
		return s.errorAt("volume.clusterSize", "%v", err)
	}
	if err := checkSize(s.Volume.Size, s.clusterSize(), "cluster size"); err != nil {
		return s.errorAt("volume.size", "%v", err)
	}
	return nil
}

func (s *Scenario) checkOptions() error {
	if n := s.Options.Parallel; n < 0 || n > maxParallel {
		return s.errorAt("options.parallel", "expected %s, got %d", numberBetween(1, maxParallel), n)
	}
	if n := s.Runs; n < 0 || n > maxRuns {
		return s.errorAt("runs", "expected %s, got %d", numberBetween(1, maxRuns), n)
	}
	return nil
}

// clusterSize is that of the volume and of the source host.
func (s *Scenario) clusterSize() uint64 {
	if s.Volume.ClusterSize != 0 {
		return s.Volume.ClusterSize
	}
	return defaultClusterSize
}

func (s *Scenario) errorAt(field, problem string, args ...any) *Error {
	return s.origin.errorAt(field, fmt.Sprintf(problem, args...))
}

// plenty is the default number of clusters of a host: an EiB.
func plenty(clusterSize uint64) uint64 { return (math.MaxUint64/16 + 1) / clusterSize }

// firstCreatedAt is the default time of creation of the first listed snapshot. Each later
// one is a minute younger.
var firstCreatedAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func createdAt(place int) time.Time { return firstCreatedAt.Add(time.Duration(place) * time.Minute) }
