package domain

import (
	"errors"
	"fmt"
	"hash/fnv"
)

// ErrCycle marks a graft that must never be sent to a real store: SPDK accepts a
// parent that descends from its child, and hangs.
var ErrCycle = errors.New("the graft would close a cycle")

// StoreModel is a model of a store that operations are played on, one after the
// other, in place. An executor keeps one beside the real store and asks it first:
// an operation that the model refuses is never sent to the store.
type StoreModel struct {
	store   Listing // deleted lvols leave a hole
	replica string
	at      map[string]int // position in store.Lvols, by UUID
	parents []int          // of each lvol, by position; noParent: none
	clones  []int          // how many each lvol has

	names, inFlight map[string]bool // that are taken

	copies   map[string]int // position in the source's Lvols, by UUID; built when first needed
	copiesOf *Lvol          // the first of them, which identifies the listing
	copied   int            // the last one that was copied
}

// NewStoreModel starts from a copy of the listing.
func NewStoreModel(store Listing, replica string) *StoreModel {
	n := len(store.Lvols)
	p := &StoreModel{
		store: store, replica: replica,
		at: positions(store.Lvols), names: make(map[string]bool, n), inFlight: make(map[string]bool),
		parents: make([]int, n), clones: make([]int, n),
	}
	p.store.Lvols = append([]Lvol(nil), store.Lvols...)
	for i := range p.store.Lvols {
		l := &p.store.Lvols[i]
		p.taken(l.Name)[l.Name] = true
		p.parents[i] = noParent
		if parent, known := p.at[l.Parent]; known {
			p.parents[i] = parent
			p.clones[parent]++
		}
	}
	return p
}

// positions finds lvols by UUID.
func positions(lvols []Lvol) map[string]int {
	at := make(map[string]int, len(lvols))
	for i := range lvols {
		at[lvols[i].UUID] = i
	}
	return at
}

// Listing returns the modelled store.
func (p *StoreModel) Listing() Listing {
	store := p.store
	store.Lvols = make([]Lvol, 0, len(p.at))
	for i := range p.store.Lvols {
		if l := &p.store.Lvols[i]; l.UUID != "" {
			store.Lvols = append(store.Lvols, *l)
		}
	}
	return store
}

// Apply plays one operation in place. After an error the model is unchanged.
func (p *StoreModel) Apply(source Listing, o Operation) error {
	if err := p.apply(source, &o); err != nil {
		return fmt.Errorf("%s %s: %w", o.Verb, p.nameOf(o), err)
	}
	return nil
}

func (p *StoreModel) apply(source Listing, o *Operation) error {
	switch o.Verb {
	case VerbSnapshot:
		return p.snapshot(o)
	case VerbCreate:
		return p.insert(o.Target, noParent, Lvol{Name: p.inFlightName(o.Target), Size: o.Size})
	case VerbClone:
		parent, err := p.parentPosition(o.Parent)
		if err != nil {
			return err
		}
		return p.insert(o.Target, parent, Lvol{Name: o.Name, Size: o.Size, Record: p.recorded(o.Record)})
	}
	at, err := p.target(o)
	if err != nil {
		return err
	}
	target := &p.store.Lvols[at]
	if o.Verb != VerbSeal && o.Verb != VerbRename && o.Name != "" && target.Name != o.Name {
		return fmt.Errorf("the lvol is now named %s", target.Name)
	}
	switch o.Verb {
	case VerbCopy:
		return p.copy(target, source, o.Source.UUID)
	case VerbGraft:
		return p.graft(at, o.Parent)
	case VerbSeal:
		return p.seal(at, o)
	case VerbDelete:
		return p.delete(at)
	case VerbRename:
		return p.rename(at, o)
	case VerbRecord:
		target.Record = p.recorded(o.Record)
		return nil
	case VerbGraftExternal:
		return p.graftExternal(target, o.Parent)
	}
	return fmt.Errorf("no such verb")
}

func (p *StoreModel) insert(target Ref, parent int, l Lvol) error {
	l.UUID = uuidOf(target)
	if _, twice := p.at[l.UUID]; twice {
		return fmt.Errorf("%s already exists", target)
	}
	if p.taken(l.Name)[l.Name] {
		return fmt.Errorf("the name %s is taken", l.Name)
	}
	at := len(p.store.Lvols)
	p.at[l.UUID] = at
	p.taken(l.Name)[l.Name] = true
	p.store.Lvols = append(p.store.Lvols, l)
	p.parents = append(p.parents, noParent)
	p.clones = append(p.clones, 0)
	p.setParent(at, parent)
	return nil
}

func (p *StoreModel) copy(target *Lvol, source Listing, uuid string) error {
	i, ok := p.sourcePosition(source, uuid)
	switch {
	case !ok:
		return fmt.Errorf("the source has no lvol %s", uuid)
	case target.ReadOnly:
		return fmt.Errorf("the lvol is sealed")
	case !source.Lvols[i].ReadOnly:
		return fmt.Errorf("%s is writable, only a snapshot can be copied", source.Lvols[i].Name)
	case target.Parent != "" || target.External != "":
		return fmt.Errorf("the lvol has a parent already")
	case !source.Lvols[i].externalParent().IsNone():
		return fmt.Errorf("%s has %s, so its own clusters are not all of its data", source.Lvols[i].Name, source.Lvols[i].externalParent().words())
	}
	target.Own, p.copied = source.Lvols[i].Own, i
	return nil
}

// sourcePosition is the position of one of the source's lvols. Usually it is listed
// right after the last copied one.
func (p *StoreModel) sourcePosition(source Listing, uuid string) (at int, ok bool) {
	if next := p.copied + 1; next < len(source.Lvols) && source.Lvols[next].UUID == uuid {
		return next, true
	}
	if len(source.Lvols) > 0 && p.copiesOf != &source.Lvols[0] {
		p.copies, p.copiesOf = positions(source.Lvols), &source.Lvols[0]
	}
	at, ok = p.copies[uuid]
	return at, ok && at < len(source.Lvols)
}

func (p *StoreModel) graft(at int, onto Ref) error {
	parent, err := p.parentPosition(onto)
	if err != nil {
		return err
	}
	if p.store.Lvols[at].Degraded {
		return fmt.Errorf("the lvol is degraded")
	}
	// An lvol without clones cannot be an ancestor of the parent.
	if p.clones[at] > 0 || parent == at {
		for ancestor := parent; ancestor != noParent; ancestor = p.parents[ancestor] {
			if ancestor == at {
				return ErrCycle
			}
		}
	}
	p.setParent(at, parent)
	return nil
}

// setParent gives the lvol at a position another parent, or none.
func (p *StoreModel) setParent(at, parent int) {
	if old := p.parents[at]; old != noParent {
		p.clones[old]--
	}
	p.parents[at], p.store.Lvols[at].Parent, p.store.Lvols[at].External = parent, "", ""
	if parent != noParent {
		p.clones[parent]++
		p.store.Lvols[at].Parent = p.store.Lvols[parent].UUID
	}
}

func (p *StoreModel) seal(at int, o *Operation) error {
	target := &p.store.Lvols[at]
	switch {
	case target.ReadOnly:
		return fmt.Errorf("the lvol is sealed already")
	case p.taken(o.Name)[o.Name]:
		return fmt.Errorf("the name %s is taken", o.Name)
	case target.Parent != uuidOf(o.Parent) || target.External != "":
		return fmt.Errorf("the lvol's parent is not %s", o.Parent)
	case target.Own.Count != o.Source.Clusters:
		return fmt.Errorf("the lvol has %d clusters of its own, its source %d", target.Own.Count, o.Source.Clusters)
	}
	delete(p.taken(target.Name), target.Name)
	p.taken(o.Name)[o.Name] = true
	target.Name, target.ReadOnly = o.Name, true
	if p.store.Records {
		target.Attributes = o.Attributes
		if o.Image != nil {
			target.Image = *o.Image
		}
	}
	return nil
}

func (p *StoreModel) delete(at int) error {
	switch l := &p.store.Lvols[at]; {
	case p.clones[at] > 0:
		return fmt.Errorf("it has clones")
	case l.Degraded && l.ReadOnly:
		return fmt.Errorf("it is degraded and may have clones")
	}
	p.setParent(at, noParent)
	target := &p.store.Lvols[at]
	delete(p.at, target.UUID)
	delete(p.taken(target.Name), target.Name)
	*target = Lvol{}
	return nil
}

func (p *StoreModel) rename(at int, o *Operation) error {
	target, name := &p.store.Lvols[at], o.Name
	if name == "" {
		name = p.inFlightName(o.Target)
	}
	switch {
	case o.OldName != "" && target.Name != o.OldName:
		return fmt.Errorf("the lvol is now named %s", target.Name)
	case name == target.Name:
		return nil
	case p.taken(name)[name]:
		return fmt.Errorf("the name %s is taken", name)
	case target.Degraded:
		return fmt.Errorf("the lvol is degraded")
	case target.ReadOnly && !p.store.RenamesSnapshots:
		return fmt.Errorf("the store does not rename snapshots")
	}
	delete(p.taken(target.Name), target.Name)
	p.taken(name)[name] = true
	target.Name = name
	return nil
}

// taken is the set that the name is in if it is taken. In-flight names have a set of
// their own, since they come and go, and are few at a time.
func (p *StoreModel) taken(name string) map[string]bool {
	if endsInFlight(name) {
		return p.inFlight
	}
	return p.names
}

func (p *StoreModel) find(r Ref) (at int, err error) {
	at, ok := p.at[uuidOf(r)]
	if !ok {
		return noPosition, fmt.Errorf("no such lvol")
	}
	return at, nil
}

// parentPosition finds a parent: none, a sealed snapshot or an image.
func (p *StoreModel) parentPosition(parent Ref) (at int, err error) {
	if parent.IsNone() {
		return noParent, nil
	}
	at, err = p.find(parent)
	if err != nil {
		return noPosition, fmt.Errorf("the parent: %w", err)
	}
	switch l := &p.store.Lvols[at]; {
	case l.Degraded:
		return noPosition, fmt.Errorf("the parent %s is degraded", l.Name)
	case !l.ReadOnly:
		return noPosition, fmt.Errorf("the parent %s is writable", l.Name)
	}
	return at, nil
}

func (p *StoreModel) recorded(record string) string {
	if !p.store.Records {
		return ""
	}
	return record
}

func (p *StoreModel) inFlightName(r Ref) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(r.String())) // never fails
	for id := sum.Sum32(); ; id++ {
		name := InFlightLvolName(p.replica, fmt.Sprintf("%08x", id))
		if r.IsImage() {
			name = ImageInFlightLvolName(fmt.Sprintf("%08x", id))
		}
		if !p.taken(name)[name] {
			return name
		}
	}
}

func (p *StoreModel) nameOf(o Operation) string {
	if o.Name != "" {
		return o.Name
	}
	return o.Target.String()
}

// uuidOf is the UUID that the model gives the lvol: its own, or that of one that the plan
// creates.
func uuidOf(r Ref) string {
	if r.IsNone() {
		return ""
	}
	return r.String()
}
