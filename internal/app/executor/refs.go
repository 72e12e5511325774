package executor

import (
	"fmt"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
	"github.com/rootgraft/rebuild/internal/table"
)

// Run is the state that a run keeps from one plan to the next.
type Run struct {
	ports.Run

	names table.Map[string, bool] // in-flight names that were drawn
	kept  table.Map[string, bool] // UUIDs of in-flight lvols that a cleanup leaves

	mu     sync.Mutex
	sealed []domain.Sealing
}

// NewRun makes a run without state.
func NewRun(run ports.Run) *Run {
	return &Run{Run: run}
}

// Keep says whether a cleanup leaves an in-flight lvol: a live head is needed by the next plan.
func (r *Run) Keep(uuid string, keep bool) { r.kept.Set(uuid, keep) }

// Drew reports whether the run has drawn that in-flight name.
func (r *Run) Drew(name string) bool { return r.names.Get(name) }

// Sealings are the snapshots that the run has sealed.
func (r *Run) Sealings() []domain.Sealing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sealed)
}

func (r *Run) remember(s domain.Sealing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = append(r.sealed, s)
}

// draw draws an in-flight name that no lvol of the listing has, since an lvol with a drawn
// name counts as this run's. The name is stored before the lvol can exist. So a cleanup
// finds the lvol even after a lost answer or a later plan.
func (r *Run) draw(form func(id string) string, on domain.Listing) string {
	for {
		name := form(NewID())
		taken := slices.ContainsFunc(on.Lvols, func(l domain.Lvol) bool { return l.Name == name })
		if !taken && r.names.Add(name, true) {
			return name
		}
	}
}

// NewID draws 8 hex digits, for a run or an in-flight name.
func NewID() string { return randid.Hex(4) }

// copyOfSource is an lvol that was filled from a source, with the data to compare before
// its seal.
type copyOfSource struct {
	uuid    string        // of the in-flight lvol; after the seal its Ref stands for the snapshot
	served  Candidate     // the snapshot that was copied
	planned domain.Origin // the same snapshot on the primary
}

// counts are numbers of own clusters at one moment: of a copy, and of its snapshot on some
// sources.
type counts struct {
	copied    uint64
	sources   []Candidate
	onSources []uint64 // by position in sources
}

// refs maps the plan's Refs to lvols of the store.
type refs struct {
	run     *Run
	listing domain.Listing

	uuids   table.Map[domain.Ref, string] // of lvols that this run has created
	names   table.Map[domain.Ref, string] // in-flight, of lvols that are being created
	unknown table.Map[string, bool]       // in-flight names that a call without an answer may have created
	copies  table.Map[domain.Ref, copyOfSource]
	counted table.Map[domain.Ref, counts] // at the time of the graft, once: a repeated seal counts again
	aside   table.Map[domain.Ref, string] // in-flight names of snapshots that are set aside
}

// uuid is the UUID of a Ref's lvol; "": there is none.
func (r *refs) uuid(of domain.Ref) string {
	if uuid, ok := of.Listed(); ok {
		return uuid
	}
	return r.uuids.Get(of)
}

// name is the in-flight name of a Ref's lvol, the same in each attempt.
func (r *refs) name(ref domain.Ref) string {
	return r.names.Ensure(ref, func() string {
		form := func(id string) string { return domain.InFlightLvolName(r.run.Replica, id) }
		if ref.IsImage() {
			form = domain.ImageInFlightLvolName
		}
		return r.run.draw(form, r.listing)
	})
}

// setAside is the in-flight name of a snapshot that is set aside, the same in each attempt.
// No cleanup deletes it by that name: linked clones read through it.
func (r *refs) setAside(ref domain.Ref) string {
	return r.aside.Ensure(ref, func() string {
		name := r.run.draw(func(id string) string { return domain.InFlightLvolName(r.run.Replica, id) }, r.listing)
		r.run.names.Take(name)
		return name
	})
}

// nameTaken lets the next attempt draw another name. The existing lvol belongs to another
// run, unless an earlier attempt may have created it.
func (r *refs) nameTaken(ref domain.Ref) error {
	name, _ := r.names.Take(ref)
	if !r.unknown.Get(name) {
		r.run.names.Take(name) // it belongs to another run
	}
	return fmt.Errorf("another run has an lvol named %s: %w", name, ports.ErrUnavailable)
}

// replaceCopy replaces the lvol of a copy by another one with the same clusters.
func (r *refs) replaceCopy(ref domain.Ref, uuid string) {
	c := r.copies.Get(ref)
	c.uuid = uuid
	r.copies.Set(ref, c)
	r.uuids.Set(ref, uuid)
}
