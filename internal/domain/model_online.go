package domain

import "fmt"

// The verbs that only a rebuild under a live volume has, on a model of one store. The model
// of a whole volume is in the proof (live_model_test.go).

// snapshot moves the head's own clusters and its parent into a new snapshot.
func (p *StoreModel) snapshot(o *Operation) error {
	at, err := p.find(o.Parent)
	switch {
	case err != nil:
		return err
	case p.store.Lvols[at].ReadOnly:
		return fmt.Errorf("%s is a snapshot", p.store.Lvols[at].Name)
	}
	head := p.store.Lvols[at]
	taken := Lvol{Name: o.Name, Size: head.Size, ReadOnly: true, External: head.External, Own: head.Own}
	if p.store.Records {
		taken.Attributes = o.Attributes
	}
	if err := p.insert(o.Target, p.parents[at], taken); err != nil {
		return err
	}
	snapshot := len(p.store.Lvols) - 1
	p.store.Lvols[snapshot].External = head.External
	p.setParent(at, snapshot)
	p.store.Lvols[at].Own = Clusters{}
	return nil
}

// graftExternal: the parent is on another host, so only its name is known here.
func (p *StoreModel) graftExternal(target *Lvol, parent Ref) error {
	switch {
	case target.ReadOnly:
		return fmt.Errorf("the lvol is sealed")
	case target.Parent != "" || target.External != "":
		return fmt.Errorf("the lvol has a parent already")
	case target.Own.Count > 0:
		return fmt.Errorf("the lvol has %d clusters of its own", target.Own.Count)
	}
	target.External = uuidOf(parent)
	return nil
}

// target finds the lvol of an operation: of a live head's chain the lowest one, which reads
// through to another host or is grafted onto the operation's parent already.
func (p *StoreModel) target(o *Operation) (int, error) {
	head, isLowest := o.Target.LowestBelow()
	if !isLowest {
		return p.find(o.Target)
	}
	at, ok := p.at[head]
	for parent := uuidOf(o.Parent); ok; at = p.parents[at] {
		l := &p.store.Lvols[at]
		if l.External != "" || l.Parent == "" || l.Parent == parent {
			return at, nil
		}
	}
	return noPosition, fmt.Errorf("no live head")
}
