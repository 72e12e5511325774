package executor

import (
	"fmt"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// Run is what a run remembers from one plan to the next.
type Run struct {
	ports.Run

	mu     sync.Mutex
	names  map[string]bool // in flight, that were drawn
	sealed []domain.Sealing
}

// NewRun makes a run that has done nothing yet.
func NewRun(run ports.Run) *Run { return &Run{Run: run, names: make(map[string]bool)} }

// Drew reports whether the run has drawn that name in flight.
func (r *Run) Drew(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.names[name]
}

// Sealings are what the run has sealed.
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

// draw draws a name that no lvol of the listing has: what has a drawn name is taken for
// this run's. It remembers it before anything of that name can exist, so that a cleanup
// finds it whatever becomes of the call, after later plans, too.
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

// forgetName forgets a name that somebody else has by now.
func (r *Run) forgetName(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, name)
}

// NewID draws 8 hex digits: of a run, or of a name in flight.
func NewID() string { return randid.Hex(4) }

// copyOfSource is an lvol that was filled from a source, and what is compared before its seal.
type copyOfSource struct {
	uuid    string        // in flight: once it is sealed, its Ref stands for the snapshot
	served  Candidate     // what was copied
	planned domain.Origin // what the plan has: the same, on the primary
}

// counts are the own clusters of a copy, and of what it is compared with, at one moment.
type counts struct {
	copied    uint64
	sources   []Candidate
	onSources []uint64 // of each that was asked
}

// refs are what the Refs of the plan stand for.
type refs struct {
	run     *Run
	listing domain.Listing

	mu      sync.Mutex
	uuids   map[domain.Ref]string // of what this run has made
	names   map[domain.Ref]string // in flight, of what is being made
	unknown map[string]bool       // names in flight that a call may have given whose answer was lost
	copies  map[domain.Ref]copyOfSource
	counted map[domain.Ref]counts // as they were grafted
}

func newRefs(c Config) *refs {
	return &refs{
		run: c.Run, listing: c.Listing,
		uuids: make(map[domain.Ref]string), names: make(map[domain.Ref]string), unknown: make(map[string]bool),
		copies: make(map[domain.Ref]copyOfSource), counted: make(map[domain.Ref]counts),
	}
}

// uuid is the lvol that a Ref stands for, "" for none.
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

// name is the name in flight of what is made, the same in each attempt.
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

// dropName has the next attempt draw another name, and returns the old one.
func (r *refs) dropName(ref domain.Ref) (name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name = r.names[ref]
	delete(r.names, ref)
	return name
}

// outcomeUnknown notes that a call may have made something of that name.
func (r *refs) outcomeUnknown(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown[name] = true
}

// nameTaken is what is done where the name of what is made is taken: the next attempt draws
// another one. Unless an earlier one may have been carried out, the lvol of that name is
// somebody else's.
func (r *refs) nameTaken(ref domain.Ref) error {
	name := r.dropName(ref)
	r.mu.Lock()
	unsure := r.unknown[name]
	r.mu.Unlock()
	if !unsure {
		r.run.forgetName(name)
	}
	return fmt.Errorf("somebody else has an lvol %s: %w", name, ports.ErrUnavailable)
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

// replaceCopy has another lvol stand for a copy, of the same clusters.
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

// takeCounts are what was counted as it was grafted, once: a seal that is done again
// looks again.
func (r *refs) takeCounts(ref domain.Ref) (c counts, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok = r.counted[ref]
	delete(r.counted, ref)
	return c, ok
}
