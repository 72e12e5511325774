package app

import (
	"slices"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
)

// spaceLedger has the space that running rebuilds and imports of an engine have reserved.
// A thin lvol takes clusters as it is filled, so the free clusters of a store do not
// suffice: two rebuilds that fit alone could fill the store together. The zero value is
// ready.
type spaceLedger struct {
	mu           sync.Mutex
	reservations []*reservation
	version      uint64 // number of calls of reserve that succeeded
}

// reservation is the space that one plan needs on a store.
type reservation struct {
	run     *reservation // the first one of the same run
	store   string       // UUID
	reserve uint64       // clusters that stay free
	lvols   []*reservedLvol
	deletes []string  // UUIDs of lvols that are deleted before any is filled
	checked time.Time // last check of the space that is left
	failing bool      // the space was too small: its run deletes what it has created
}

// reservedLvol is one lvol that is filled.
type reservedLvol struct {
	target   domain.Ref
	image    string // final name of an image, which other runs may need, too; otherwise ""
	clusters uint64

	uuids  []string // of the lvols that have its clusters, one after the other; none: not created yet
	filled uint64   // clusters, as far as its run knows
}

func (p *reservedLvol) created(uuid string) { p.uuids = append(p.uuids, uuid) }

func (p *reservedLvol) left() uint64 { return p.clusters - min(p.filled, p.clusters) }

func newReservation(plan domain.Plan, store domain.Listing, reserve uint64) *reservation {
	n := &reservation{store: store.UUID, reserve: reserve}
	for _, o := range plan.Operations {
		switch uuid, listed := o.Target.Listed(); {
		case o.Verb == domain.VerbCopy:
			n.lvols = append(n.lvols, &reservedLvol{target: o.Target, clusters: o.Source.Clusters})
		case o.Verb == domain.VerbDelete && listed && o.Stage != domain.StageReplace:
			n.deletes = append(n.deletes, uuid)
		case o.Verb == domain.VerbSeal && o.Target.IsImage():
			n.lvols[len(n.lvols)-1].image = o.Name
		}
	}
	return n
}

// filledSoFar are the filled clusters of a reservation's lvols before a listing of the
// store. The listing has at least as many.
type filledSoFar struct {
	reservation *reservation
	filled      []uint64
}

// filled is called before a store is listed.
func (r *spaceLedger) filled() []filledSoFar {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]filledSoFar, len(r.reservations))
	for i, n := range r.reservations {
		all[i] = filledSoFar{n, make([]uint64, len(n.lvols))}
		for j, p := range n.lvols {
			all[i].filled[j] = p.filled
		}
	}
	return all
}

// demand is the number of clusters that other runs will still take of a listed store:
// runs from before the listing, even if they have ended since, and running ones. If the
// caller fetches an image that they fetch, too, it is counted once: shared are the
// clusters of it that are there. version is for reserve.
func (r *spaceLedger) demand(store domain.Listing, before []filledSoFar, mine *reservation, image string) (clusters, shared, version uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(before)
	for _, n := range r.reservations {
		if !slices.ContainsFunc(before, func(t filledSoFar) bool { return t.reservation == n }) {
			all = append(all, filledSoFar{n, make([]uint64, len(n.lvols))})
		}
	}
	listed := newListedSpace(store)
	ofRun := make(map[*reservation]uint64) // the most of any of its plans
	for _, t := range all {
		if mine != nil && t.reservation.run == mine.run || t.reservation.store != store.UUID {
			continue
		}
		ofRun[t.reservation.run] = max(ofRun[t.reservation.run], listed.missing(t))
	}
	for _, missing := range ofRun {
		clusters += missing
	}
	for name, i := range listed.images {
		if name == image {
			shared = i.clusters - i.missing
		} else {
			clusters += i.missing
		}
	}
	return clusters - min(shared, clusters), shared - min(shared, clusters), r.version
}

// listedSpace compares reservations with a listing of their store.
type listedSpace struct {
	own    map[string]uint64 // own clusters, by UUID
	named  map[string]bool
	images map[string]imageSpace // images that are not there yet, by name
}

// imageSpace is the space of an image. Of several runs that need the image, one fetches it.
type imageSpace struct{ clusters, missing uint64 }

func newListedSpace(store domain.Listing) listedSpace {
	l := listedSpace{make(map[string]uint64, len(store.Lvols)), make(map[string]bool, len(store.Lvols)), make(map[string]imageSpace)}
	for i := range store.Lvols {
		l.own[store.Lvols[i].UUID] = store.Lvols[i].Own.Count
		l.named[store.Lvols[i].Name] = true
	}
	return l
}

// missing is the number of clusters that a reservation will still take, without images:
// those it adds to images.
func (l listedSpace) missing(t filledSoFar) uint64 {
	var all, freed uint64
	for i, p := range t.reservation.lvols {
		filled := t.filled[i]
		for _, uuid := range p.uuids {
			filled = max(filled, l.own[uuid])
		}
		missing := p.clusters - min(filled, p.clusters)
		switch known, ok := l.images[p.image]; {
		case p.image == "":
			all += missing
		case l.named[p.image]: // it exists
		case !ok || missing < known.missing:
			l.images[p.image] = imageSpace{p.clusters, missing}
		}
	}
	for _, uuid := range t.reservation.deletes {
		freed += l.own[uuid]
	}
	return all - min(freed, all)
}

// reserve adds the reservation of a run in place of that of its earlier plan. It returns
// false if another run has reserved since demand returned version.
func (r *spaceLedger) reserve(n, old *reservation, version uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version != version {
		return false
	}
	r.version++
	n.run = n
	if old != nil {
		n.run = old.run
	}
	r.reservations = append(slices.DeleteFunc(r.reservations, func(other *reservation) bool { return other == old }), n)
	return true
}

func (r *spaceLedger) release(n *reservation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reservations = slices.DeleteFunc(r.reservations, func(other *reservation) bool { return other == n })
}

// update changes the lvols of a target.
func (r *spaceLedger) update(n *reservation, target domain.Ref, change func(*reservedLvol)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n == nil {
		return
	}
	for _, p := range n.lvols {
		if p.target == target {
			change(p)
		}
	}
}
