package domain

// interrupted lists what a verb that was cut short may leave, besides all or
// nothing. The windows are those of the SPDK adapter, which needs several
// calls for some verbs; other adapters leave less.
func interrupted(s Store, o Operation) []Store {
	var left []Store
	at := func(r Ref) int {
		for i, l := range s.Lvols {
			if l.UUID == uuidOf(r) {
				return i
			}
		}
		return -1
	}
	leave := func(change func(*Store)) {
		after := s
		after.Lvols = append([]Lvol(nil), s.Lvols...)
		change(&after)
		left = append(left, after)
	}
	helper := func(id, parent string, size uint64, readOnly bool) Lvol {
		return Lvol{UUID: "helper-" + id, Name: InFlightLvolName(destinationReplica, id), Parent: parent, Size: size, ReadOnly: readOnly}
	}
	target := at(o.Target)
	switch o.Verb {
	case VerbGraft:
		// A spacer between the lvol and a parent of another size, or in place of
		// none: t is the lvol that it is made from, e the spacer.
		child := s.Lvols[target]
		t := helper("0000cccc", uuidOf(o.Parent), child.Size, false)
		e := helper("0000dddd", uuidOf(o.Parent), child.Size, true)
		tUnderE := t
		tUnderE.Parent = e.UUID
		under := func(parent string) Lvol {
			moved := child
			moved.Parent = parent
			return moved
		}
		leave(func(s *Store) { s.Lvols = append(s.Lvols, t) })
		leave(func(s *Store) { s.Lvols = append(s.Lvols, e, tUnderE) })
		leave(func(s *Store) { s.Lvols = append(s.Lvols, e) })
		leave(func(s *Store) { s.Lvols = append(s.Lvols, e); s.Lvols[target] = under(e.UUID) })
		leave(func(s *Store) { s.Lvols = append(s.Lvols, e); s.Lvols[target] = under(uuidOf(o.Parent)) })
	case VerbSeal:
		// The snapshot is there, and the empty rest of the lvol hangs on it.
		leave(func(s *Store) {
			sealed := &s.Lvols[target]
			rest := helper("0000eeee", sealed.UUID, sealed.Size, false)
			if o.Target.IsImage() {
				rest.Name = ImageInFlightLvolName("0000eeee")
			}
			sealed.Name, sealed.ReadOnly = o.Name, true
			if s.Records {
				sealed.Attributes = o.Attributes
				if o.Image != nil {
					sealed.Image = *o.Image
				}
			}
			s.Lvols = append(s.Lvols, rest)
		})
	case VerbClone:
		leave(func(s *Store) { s.Lvols = append(s.Lvols, helper("0000ffff", uuidOf(o.Parent), o.Size, false)) })
		leave(func(s *Store) {
			s.Lvols = append(s.Lvols, helper("0000ffff", uuidOf(o.Parent), o.Size-proofCluster, false))
		})
	case VerbCopy:
		leave(func(s *Store) { s.Lvols[target].Own = ownClusters("part", 1) })
	}
	return left
}
