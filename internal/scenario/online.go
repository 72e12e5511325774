package scenario

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Online makes the rebuild one under a live volume: a mirror over several replicas with
// the source's tree, which clients read and write all the time.
type Online struct {
	Members     int           // whole members, 1 to 4, the source is the first; 0: 2
	Writers     int           // clients that read and write at once, 1 to 64; 0: 4
	Seed        uint64        // of the clients' requests
	FreezeLimit time.Duration // how long the clients are stopped at most; 0: the engine's default
	Dies        *Death        // nil: no member dies
	Snapshot    *Meanwhile    // nil: nobody takes a snapshot
}

// Death is the end of a member's host in the first run.
type Death struct {
	Member int    // from 1
	Call   string // as a Fault's; on the side of the source, the calls of all members count
	Nth    int    // 0: the first
}

// Meanwhile is a snapshot that a user takes of the volume in the first run.
type Meanwhile struct {
	Name string // without the replicas'
	Call string // at which it is taken, as a Fault's
	Nth  int    // 0: the first
}

const (
	maxMembers     = 4
	defaultMembers = 2
	maxWriters     = 64
	defaultWriters = 4
	maxFreeze      = time.Minute
	expectedFreeze = "a time from 1ms to 1m0s, such as 500ms"
)

func (r *reader) online(v value) *Online {
	if !v.given() {
		return nil
	}
	f := r.fields(v, "members", "writers", "seed", "freezeLimit", "dies", "snapshot")
	return &Online{
		Members:     int(r.number(f.optional("members"), 1, maxMembers)),
		Writers:     int(r.number(f.optional("writers"), 1, maxWriters)),
		Seed:        r.number(f.optional("seed"), 0, math.MaxUint64),
		FreezeLimit: r.duration(f.optional("freezeLimit"), maxFreeze, expectedFreeze),
		Dies:        r.death(f.optional("dies")),
		Snapshot:    r.meanwhile(f.optional("snapshot")),
	}
}

func (r *reader) death(v value) *Death {
	if !present(v) {
		return nil
	}
	f := r.fields(v, "member", "call", "nth")
	return &Death{
		Member: int(r.number(f.required("member", numberBetween(1, maxMembers)), 1, maxMembers)),
		Call:   r.text(f.required("call", expectedCalls()), expectedCalls()),
		Nth:    int(r.number(f.optional("nth"), 1, maxNth)),
	}
}

// String is the call at which it is taken, such as "copy 2 on the source".
func (m *Meanwhile) String() string {
	f := Fault{Call: m.Call, Nth: m.Nth}.withDefaults()
	return fmt.Sprintf("%s %d on the %s", f.Call, f.Nth, f.Side)
}

func (r *reader) meanwhile(v value) *Meanwhile {
	if !present(v) {
		return nil
	}
	f := r.fields(v, "name", "call", "nth")
	return &Meanwhile{
		Name: r.text(f.required("name", "a name"), "a name"),
		Call: r.text(f.required("call", expectedCalls()), expectedCalls()),
		Nth:  int(r.number(f.optional("nth"), 1, maxNth)),
	}
}

// checkOnline checks the part of an online rebuild.
func (s *Scenario) checkOnline() error {
	o := s.Online
	if o == nil {
		return nil
	}
	switch {
	case o.Members < 0 || o.Members > maxMembers:
		return s.errorAt("online.members", "expected %s, got %d", numberBetween(1, maxMembers), o.Members)
	case o.Writers < 0 || o.Writers > maxWriters:
		return s.errorAt("online.writers", "expected %s, got %d", numberBetween(1, maxWriters), o.Writers)
	case o.FreezeLimit < 0 || o.FreezeLimit > maxFreeze:
		return s.errorAt("online.freezeLimit", "expected %s, got %s", expectedFreeze, o.FreezeLimit)
	}
	if err := s.checkDeath(o); err != nil {
		return err
	}
	return s.checkMeanwhile(o.Snapshot)
}

func (s *Scenario) checkDeath(o *Online) error {
	switch {
	case o.Dies == nil:
	case o.Dies.Member < 1 || o.Dies.Member > o.members():
		return s.errorAt("online.dies.member", "expected a member from 1 to %d, the number of members, got %d", o.members(), o.Dies.Member)
	case !isCall(o.Dies.Call):
		return s.errorAt("online.dies.call", "expected %s, got %s", expectedCalls(), quote(o.Dies.Call))
	case o.Dies.Nth < 0 || o.Dies.Nth > maxNth:
		return s.errorAt("online.dies.nth", "expected %s, got %d", numberBetween(1, maxNth), o.Dies.Nth)
	}
	return nil
}

func (s *Scenario) checkMeanwhile(m *Meanwhile) error {
	if m == nil {
		return nil
	}
	if err := checkSnapshotName(m.Name); err != nil {
		return s.errorAt("online.snapshot.name", "%v", err)
	}
	taken := func(of Snapshot) bool { return of.Name == m.Name }
	switch {
	case slices.ContainsFunc(s.Source.Snapshots, taken):
		return s.errorAt("online.snapshot.name", "expected the name of a new snapshot, got %s", quote(m.Name))
	case !isCall(m.Call):
		return s.errorAt("online.snapshot.call", "expected %s, got %s", expectedCalls(), quote(m.Call))
	case m.Nth < 0 || m.Nth > maxNth:
		return s.errorAt("online.snapshot.nth", "expected %s, got %d", numberBetween(1, maxNth), m.Nth)
	}
	return nil
}

func (o *Online) members() int { return cmp.Or(o.Members, defaultMembers) }

// fault is the death as a fault.
func (d Death) fault() Fault {
	return Fault{Call: d.Call, Nth: d.Nth, Crash: crashMember, member: d.Member}
}

// seat is the place of a whole replica.
type seat struct {
	lvstore, uuid string
	replica       string
	seed          uint64
}

// seats are those of the source and of the other members.
func (s *Scenario) seats() []seat {
	all := []seat{{"disk-1", SourceStoreUUID, s.sourceReplica(), 1}}
	if s.Online == nil {
		return all
	}
	for n := len(all); n < s.Online.members(); n++ {
		at := n + 2 // the destination is the second one
		all = append(all, seat{
			fmt.Sprintf("disk-%d", at), fmt.Sprintf("d15c%04d-5ce0-4a1d-8000-%012d", at, at),
			fmt.Sprintf("%s-r-%d", s.Volume.Name, at), uint64(at),
		})
	}
	return all
}

// layOutMembers lays out the members beside the source.
func (s *Scenario) layOutMembers(base domain.Base) (all []*layout, err error) {
	for _, at := range s.seats()[1:] {
		l, err := s.layOutSource(base, at)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}
