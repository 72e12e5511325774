package domain

import (
	"errors"
	"fmt"
	"hash/fnv"
)

// ErrCycle is the one thing that must never be asked of a real store: SPDK
// accepts a parent that hangs on its child, and hangs itself.
var ErrCycle = errors.New("the graft would close a cycle")

// Apply plays one operation on a pure picture of a store and returns the
// picture after it; store itself is not changed. It is stricter than a real
// store: a cycle, a delete of what has clones, a taken name, a parent that is
// not sealed are errors. Own clusters are opaque; a copy has what its source
// on the source's store has.
//
// What an operation makes gets the Ref's text as its UUID and, while it is in
// flight, a name derived from it.
func Apply(store, source Store, replica string, operation Operation) (Store, error) {
	picture := NewPicture(store, replica)
	if err := picture.Apply(source, operation); err != nil {
		return Store{}, err
	}
	return picture.Store(), nil
}

// Picture is a store that operations are played on, one after the other, in
// place. Whoever carries a plan out keeps one beside the real store, and asks
// it first: what the picture refuses is never asked of the store.
type Picture struct {
	store   Store
	replica string
	at      map[string]int // position in store.Lvols, by UUID
	names   map[string]bool
	clones  map[string]int // by UUID

	copies   map[string]int // position in the source's Lvols, by UUID; built when first needed
	copiesOf *Lvol          // the first of them, which tells another listing
}

// NewPicture starts from a copy of the listing.
func NewPicture(store Store, replica string) *Picture {
	p := &Picture{
		store: store, replica: replica,
		at:     make(map[string]int, len(store.Lvols)),
		names:  make(map[string]bool, len(store.Lvols)),
		clones: make(map[string]int),
	}
	p.store.Lvols = append([]Lvol(nil), store.Lvols...)
	for i, l := range p.store.Lvols {
		p.at[l.UUID] = i
		p.names[l.Name] = true
		if l.Parent != "" {
			p.clones[l.Parent]++
		}
	}
	return p
}

// Store is the picture as a listing.
func (p *Picture) Store() Store {
	store := p.store
	store.Lvols = make([]Lvol, 0, len(p.at))
	for _, l := range p.store.Lvols {
		if l.UUID != "" { // deleted ones leave a hole
			store.Lvols = append(store.Lvols, l)
		}
	}
	return store
}

// Apply plays one operation in place. After an error nothing has changed.
func (p *Picture) Apply(source Store, o Operation) error {
	if err := p.apply(source, o); err != nil {
		return fmt.Errorf("%s %s: %w", o.Verb, p.nameOf(o), err)
	}
	return nil
}

func (p *Picture) apply(source Store, o Operation) error {
	switch o.Verb {
	case VerbCreate:
		return p.insert(Lvol{Name: p.inFlightName(o.Target), Size: o.Size}, o.Target)
	case VerbClone:
		if err := p.requireSealed(o.Parent); err != nil {
			return err
		}
		return p.insert(Lvol{Name: o.Name, Parent: uuidOf(o.Parent), Size: o.Size, Record: p.recorded(o.Record)}, o.Target)
	}
	target, err := p.find(o.Target)
	if err != nil {
		return err
	}
	if o.Verb != VerbSeal && o.Name != "" && target.Name != o.Name {
		return fmt.Errorf("the lvol is called %s now", target.Name)
	}
	switch o.Verb {
	case VerbCopy:
		return p.copy(target, source, o.Source.UUID)
	case VerbGraft:
		return p.graft(target, o.Parent)
	case VerbSeal:
		return p.seal(target, o)
	case VerbDelete:
		return p.delete(target)
	case VerbRecord:
		target.Record = p.recorded(o.Record)
		return nil
	}
	return fmt.Errorf("no such verb")
}

func (p *Picture) insert(l Lvol, target Ref) error {
	l.UUID = uuidOf(target)
	if _, twice := p.at[l.UUID]; twice {
		return fmt.Errorf("%s is there already", target)
	}
	if p.names[l.Name] {
		return fmt.Errorf("the name %s is taken", l.Name)
	}
	p.at[l.UUID] = len(p.store.Lvols)
	p.store.Lvols = append(p.store.Lvols, l)
	p.names[l.Name] = true
	if l.Parent != "" {
		p.clones[l.Parent]++
	}
	return nil
}

func (p *Picture) copy(target *Lvol, source Store, uuid string) error {
	if len(source.Lvols) > 0 && p.copiesOf != &source.Lvols[0] {
		p.copiesOf = &source.Lvols[0]
		p.copies = make(map[string]int, len(source.Lvols))
		for i, l := range source.Lvols {
			p.copies[l.UUID] = i
		}
	}
	i, ok := p.copies[uuid]
	switch {
	case !ok || i >= len(source.Lvols):
		return fmt.Errorf("the source has no lvol %s", uuid)
	case target.ReadOnly:
		return fmt.Errorf("the lvol is sealed")
	case !source.Lvols[i].ReadOnly:
		return fmt.Errorf("%s is writable, only a snapshot can be copied", source.Lvols[i].Name)
	case target.Parent != "":
		return fmt.Errorf("the lvol has a parent already")
	}
	target.Own = source.Lvols[i].Own
	return nil
}

func (p *Picture) graft(target *Lvol, parent Ref) error {
	if err := p.requireSealed(parent); err != nil {
		return err
	}
	// Where nothing hangs on the lvol, it is nobody's ancestor.
	if p.clones[target.UUID] > 0 || uuidOf(parent) == target.UUID {
		for up := uuidOf(parent); up != ""; up = p.store.Lvols[p.at[up]].Parent {
			if up == target.UUID {
				return ErrCycle
			}
		}
	}
	if target.Parent != "" {
		p.clones[target.Parent]--
	}
	target.Parent = uuidOf(parent)
	if target.Parent != "" {
		p.clones[target.Parent]++
	}
	return nil
}

func (p *Picture) seal(target *Lvol, o Operation) error {
	switch {
	case target.ReadOnly:
		return fmt.Errorf("the lvol is sealed already")
	case p.names[o.Name]:
		return fmt.Errorf("the name %s is taken", o.Name)
	case target.Parent != uuidOf(o.Parent):
		return fmt.Errorf("the lvol does not hang on %s", o.Parent)
	case target.Own.Count != o.Source.Clusters:
		return fmt.Errorf("the lvol has %d clusters of its own, its source %d", target.Own.Count, o.Source.Clusters)
	}
	delete(p.names, target.Name)
	p.names[o.Name] = true
	target.Name, target.ReadOnly = o.Name, true
	if p.store.Records {
		target.Attributes = o.Attributes
		if o.Image != nil {
			target.Image = *o.Image
		}
	}
	return nil
}

func (p *Picture) delete(target *Lvol) error {
	if p.clones[target.UUID] > 0 {
		return fmt.Errorf("something hangs on it")
	}
	if target.Parent != "" {
		p.clones[target.Parent]--
	}
	delete(p.at, target.UUID)
	delete(p.names, target.Name)
	*target = Lvol{}
	return nil
}

func (p *Picture) find(r Ref) (*Lvol, error) {
	i, ok := p.at[uuidOf(r)]
	if !ok {
		return nil, fmt.Errorf("no such lvol")
	}
	return &p.store.Lvols[i], nil
}

// requireSealed: only a sealed snapshot or an image can be a parent.
func (p *Picture) requireSealed(parent Ref) error {
	if parent.IsNone() {
		return nil
	}
	l, err := p.find(parent)
	switch {
	case err != nil:
		return fmt.Errorf("the parent: %w", err)
	case !l.ReadOnly:
		return fmt.Errorf("the parent %s is writable", l.Name)
	}
	return nil
}

func (p *Picture) recorded(record string) string {
	if !p.store.Records {
		return ""
	}
	return record
}

func (p *Picture) inFlightName(r Ref) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(r.String())) // never fails
	for id := sum.Sum32(); ; id++ {
		name := InFlightLvolName(p.replica, fmt.Sprintf("%08x", id))
		if r.IsImage() {
			name = ImageInFlightLvolName(fmt.Sprintf("%08x", id))
		}
		if !p.names[name] {
			return name
		}
	}
}

func (p *Picture) nameOf(o Operation) string {
	if o.Name != "" {
		return o.Name
	}
	return o.Target.String()
}

func uuidOf(r Ref) string {
	if r.IsNone() {
		return ""
	}
	return r.String()
}
