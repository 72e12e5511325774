package executor

import (
	"fmt"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// Run is the state that a run keeps from one plan to the next.
type Run struct {
	ports.Run

	mu     sync.Mutex
	names  map[string]bool // in-flight names that were drawn
	sealed []domain.Sealing
	kept   map[string]bool // UUIDs of in-flight lvols that a cleanup leaves
}

// NewRun makes a run without state.
func NewRun(run ports.Run) *Run {
	return &Run{Run: run, names: make(map[string]bool), kept: make(map[string]bool)}
}

// Keep says whether a cleanup leaves an in-flight lvol: a live head is needed by the next plan.
func (r *Run) Keep(uuid string, keep bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[uuid] = keep
}

func (r *Run) keeps(uuid string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept[uuid]
}

// Drew reports whether the run has drawn that in-flight name.
func (r *Run) Drew(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.names[name]
}

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
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		name := form(NewID())
		taken := slices.ContainsFunc(on.Lvols, func(l domain.Lvol) bool { return l.Name == name })
		if !taken && !r.names[name] {
			r.names[name] = true
			return name
		}
	}
}

// forgetName forgets a name that belongs to another run.
func (r *Run) forgetName(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, name)
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

	mu      sync.Mutex
	uuids   map[domain.Ref]string // of lvols that this run has created
	names   map[domain.Ref]string // in-flight, of lvols that are being created
	unknown map[string]bool       // in-flight names that a call without an answer may have created
	copies  map[domain.Ref]copyOfSource
	counted map[domain.Ref]counts // at the time of the graft
	aside   map[domain.Ref]string // in-flight names of snapshots that are set aside
}

func newRefs(c Config) *refs {
	return &refs{
		run: c.Run, listing: c.Listing,
		uuids: make(map[domain.Ref]string), names: make(map[domain.Ref]string), unknown: make(map[string]bool),
		copies: make(map[domain.Ref]copyOfSource), counted: make(map[domain.Ref]counts),
		aside: make(map[domain.Ref]string),
	}
}

// uuid is the UUID of a Ref's lvol; "": there is none.
func (r *refs) uuid(of domain.Ref) string {
	if uuid, ok := of.Listed(); ok {
		return uuid
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.uuids[of]
}

func (r *refs) setMade(ref domain.Ref, uuid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uuids[ref] = uuid
}

// name is the in-flight name of a Ref's lvol, the same in each attempt.
func (r *refs) name(ref domain.Ref) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name, drawn := r.names[ref]; drawn {
		return name
	}
	form := func(id string) string { return domain.InFlightLvolName(r.run.Replica, id) }
	if ref.IsImage() {
		form = domain.ImageInFlightLvolName
	}
	r.names[ref] = r.run.draw(form, r.listing)
	return r.names[ref]
}

// setAside is the in-flight name of a snapshot that is set aside, the same in each attempt.
// No cleanup deletes it by that name: linked clones read through it.
func (r *refs) setAside(ref domain.Ref) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, drawn := r.aside[ref]; !drawn {
		name := r.run.draw(func(id string) string { return domain.InFlightLvolName(r.run.Replica, id) }, r.listing)
		r.run.forgetName(name)
		r.aside[ref] = name
	}
	return r.aside[ref]
}

// asideName is the name of a snapshot that was set aside, "" for another lvol.
func (r *refs) asideName(ref domain.Ref) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.aside[ref]
}

// dropName returns the in-flight name and lets the next attempt draw another one.
func (r *refs) dropName(ref domain.Ref) (name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name = r.names[ref]
	delete(r.names, ref)
	return name
}

// outcomeUnknown says that a call without an answer may have created an lvol of that name.
func (r *refs) outcomeUnknown(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown[name] = true
}

// nameTaken lets the next attempt draw another name. The existing lvol belongs to another
// run, unless an earlier attempt may have created it.
func (r *refs) nameTaken(ref domain.Ref) error {
	name := r.dropName(ref)
	r.mu.Lock()
	unsure := r.unknown[name]
	r.mu.Unlock()
	if !unsure {
		r.run.forgetName(name)
	}
	return fmt.Errorf("another run has an lvol named %s: %w", name, ports.ErrUnavailable)
}

func (r *refs) copyOf(ref domain.Ref) copyOfSource {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.copies[ref]
}

func (r *refs) setCopy(ref domain.Ref, c copyOfSource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.copies[ref] = c
}

// replaceCopy replaces the lvol of a copy by another one with the same clusters.
func (r *refs) replaceCopy(ref domain.Ref, uuid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.copies[ref]
	c.uuid, r.uuids[ref] = uuid, uuid
	r.copies[ref] = c
}

func (r *refs) setCounts(ref domain.Ref, c counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counted[ref] = c
}

// takeCounts returns the counts at the time of the graft, once: a repeated seal counts
// again.
func (r *refs) takeCounts(ref domain.Ref) (c counts, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok = r.counted[ref]
	delete(r.counted, ref)
	return c, ok
}
