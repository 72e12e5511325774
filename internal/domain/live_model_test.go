package domain

import (
	"fmt"
	"time"
)

// LiveModel is a model of a volume, of the stores of its members and of the destination's. It
// plays the operations of an online plan as StoreModel does those of a rebuild: stricter than
// hosts.
type LiveModel struct {
	Volume      Volume
	Members     []*StoreModel // in the order of the plan's request
	Destination *StoreModel

	shown  map[string]bool // what is exported: "2/uuid" by the second member
	joined Member          // the live head
}

// NewLiveModel starts from listings. replicas are the names of the members' replicas.
func NewLiveModel(v Volume, members []Listing, replicas []string, destination Listing, replica string) *LiveModel {
	m := &LiveModel{Volume: v, Destination: NewStoreModel(destination, replica), shown: make(map[string]bool)}
	for i, store := range members {
		m.Members = append(m.Members, NewStoreModel(store, replicas[i]))
	}
	return m
}

// Apply plays one operation. source is the listing that copies come from. After an error the
// model is unchanged.
func (m *LiveModel) Apply(source Listing, o Operation) error {
	var err error
	switch o.Verb {
	case VerbSnapshot:
		return m.Members[o.Member-1].Apply(source, o)
	case VerbExport:
		err = m.export(o)
	case VerbJoin:
		err = m.join(o)
	case VerbLeave:
		if m.Volume, err = m.Volume.Leave(uuidOf(o.Target)); err == nil {
			err = m.hide(o)
		}
	case VerbDelete:
		if at, found := m.Destination.find(o.Target); found == nil && m.Destination.store.Lvols[at].UsedBy.Any() {
			return fmt.Errorf("delete %s: it is exported", o.Target)
		}
		return m.Destination.Apply(source, o)
	case VerbGraftExternal:
		for i := range m.Members {
			if !m.shown[fmt.Sprint(i+1, "/", uuidOf(o.Parent))] {
				return fmt.Errorf("graft-external: member %d does not export %s", i+1, o.Parent)
			}
		}
		return m.Destination.Apply(source, o)
	case VerbRename:
		return m.rename(source, o)
	default:
		return m.Destination.Apply(source, o)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", o.Verb, o.Target, err)
	}
	return nil
}

func (m *LiveModel) hide(o Operation) error {
	at, err := m.Destination.find(o.Target)
	if err == nil {
		m.Destination.store.Lvols[at].UsedBy = User{}
	}
	return err
}

func (m *LiveModel) export(o Operation) error {
	store := m.Destination
	if o.Member > 0 {
		store = m.Members[o.Member-1]
	}
	at, err := store.find(o.Target)
	if err != nil {
		return err
	}
	if l := store.store.Lvols[at]; o.Member > 0 && !l.ReadOnly {
		return fmt.Errorf("%s is writable: the destination would read what clients write later", l.Name)
	}
	m.shown[fmt.Sprint(o.Member, "/", uuidOf(o.Target))] = true
	return nil
}

func (m *LiveModel) join(o Operation) error {
	at, err := m.Destination.find(o.Target)
	if err != nil {
		return err
	}
	switch l := m.Destination.store.Lvols[at]; {
	case !m.shown[fmt.Sprint(0, "/", l.UUID)]:
		return fmt.Errorf("it is not exported")
	case l.External == "":
		return fmt.Errorf("it does not read the volume's bytes")
	}
	m.joined = Member{Head: uuidOf(o.Target), Name: o.Target.String(), Since: joinedNow}
	m.Volume, err = m.Volume.Join(m.joined)
	return err
}

// rename gives the live head its final name: then it is whole.
func (m *LiveModel) rename(source Listing, o Operation) error {
	at, err := m.Destination.find(o.Target)
	if err != nil {
		return err
	}
	for below := at; below != noParent; below = m.Destination.parents[below] {
		if m.Destination.store.Lvols[below].External != "" {
			return fmt.Errorf("rename %s: it still reads another host", m.Destination.store.Lvols[at].Name)
		}
	}
	whole, err := m.Volume.Land(m.joined)
	if err != nil {
		return fmt.Errorf("rename %s: %w", o.Name, err)
	}
	if err := m.Destination.Apply(source, o); err != nil {
		return err
	}
	m.Volume = whole
	return nil
}

// joinedNow is when a live head joins a modelled volume.
var joinedNow = time.Unix(1, 0)
