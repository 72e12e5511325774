package domain

import "slices"

// interrupted lists what a verb that was cut short may leave, besides all or
// nothing. The windows are those of the SPDK adapter, which needs several
// calls for some verbs; other adapters leave less. While it copies it prepares the
// graft that comes next.
func interrupted(s Listing, plan Plan, o Operation) []Listing {
	var left []Listing
	at := func(r Ref) int {
		for i, l := range s.Lvols {
			if l.UUID == uuidOf(r) {
				return i
			}
		}
		return -1
	}
	leave := func(change func(*Listing)) {
		after := s
		after.Lvols = append([]Lvol(nil), s.Lvols...)
		change(&after)
		left = append(left, after)
	}
	target := at(o.Target)
	switch o.Verb {
	case VerbGraft:
		child := s.Lvols[target]
		rest, spacer, restOnSpacer := spacerFor(child, uuidOf(o.Parent))
		under := func(parent string) Lvol {
			moved := child
			moved.Parent, moved.External = parent, ""
			return moved
		}
		leave(func(s *Listing) { s.Lvols = append(s.Lvols, rest) })
		leave(func(s *Listing) { s.Lvols = append(s.Lvols, spacer, restOnSpacer) })
		leave(func(s *Listing) { s.Lvols = append(s.Lvols, spacer) })
		leave(func(s *Listing) { s.Lvols = append(s.Lvols, spacer); s.Lvols[target] = under(spacer.UUID) })
		leave(func(s *Listing) { s.Lvols = append(s.Lvols, spacer); s.Lvols[target] = under(uuidOf(o.Parent)) })
	case VerbDelete:
		// A clone of an external snapshot is detached before it is deleted: of what a
		// graft can leave, one state of each kind, for the proof doubles with all of them.
		if child := s.Lvols[target]; child.External != "" {
			rest, spacer, _ := spacerFor(child, "")
			detached := child
			detached.External = ""
			under := detached
			under.Parent = spacer.UUID
			leave(func(s *Listing) { s.Lvols = append(s.Lvols, rest) })
			leave(func(s *Listing) { s.Lvols = append(s.Lvols, spacer); s.Lvols[target] = under })
			leave(func(s *Listing) { s.Lvols[target] = detached })
		}
	case VerbSeal:
		if o.Prove {
			for _, stage := range provenInFlight(s.Lvols[target]) {
				leave(func(s *Listing) { s.Lvols = append(slices.Delete(s.Lvols, target, target+1), stage...) })
			}
		}
		// The snapshot is there, and the empty rest of the lvol hangs on it.
		leave(func(s *Listing) {
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
	case VerbRename:
		// It has the new name, and a clone that is to have it written to the disk.
		leave(func(s *Listing) {
			renamed, err := Apply(*s, Listing{}, destinationReplica, o)
			if err == nil {
				*s = renamed
				s.Lvols = append(s.Lvols, helper("0000abab", s.Lvols[target].UUID, s.Lvols[target].Size, false))
			}
		})
	case VerbClone:
		leave(func(s *Listing) { s.Lvols = append(s.Lvols, helper("0000ffff", uuidOf(o.Parent), o.Size, false)) })
		leave(func(s *Listing) {
			s.Lvols = append(s.Lvols, helper("0000ffff", uuidOf(o.Parent), o.Size-proofCluster, false))
		})
	case VerbCopy:
		part := func(s *Listing) { s.Lvols[target].Own = ownClusters("part", 1) }
		leave(part)
		for _, graft := range plan.Operations {
			if graft.Verb != VerbGraft || graft.Target != o.Target || at(graft.Parent) < 0 {
				continue
			}
			rest, spacer, restOnSpacer := spacerFor(s.Lvols[target], uuidOf(graft.Parent))
			leave(func(s *Listing) { part(s); s.Lvols = append(s.Lvols, rest) })
			leave(func(s *Listing) { part(s); s.Lvols = append(s.Lvols, spacer, restOnSpacer) })
		}
	}
	return left
}

// provenInFlight is what an image that is proven before its seal may be interrupted
// as, all of it in flight: a snapshot with the empty rest of the lvol, the snapshot
// alone, with the clone that is to take its clusters over, and that one alone.
func provenInFlight(filled Lvol) (stages [][]Lvol) {
	called := func(id, parent string, readOnly bool, own Clusters) Lvol {
		l := helper(id, parent, filled.Size, readOnly)
		l.Name, l.Own = ImageInFlightLvolName(id), own
		return l
	}
	snapshot := called("0000aaab", "", true, filled.Own)
	rest := called("0000aaac", snapshot.UUID, false, Clusters{})
	return [][]Lvol{{snapshot, rest}, {snapshot}, {called("0000aaad", "", false, filled.Own)}}
}

// helper is an lvol that an adapter makes for itself.
func helper(id, parent string, size uint64, readOnly bool) Lvol {
	return Lvol{UUID: "helper-" + id, Name: InFlightLvolName(destinationReplica, id), Parent: parent, Size: size, ReadOnly: readOnly}
}

// spacerFor is a spacer between the lvol and a parent of another size, or in place of
// none, and the empty lvol that it is made from, before and after.
func spacerFor(child Lvol, parent string) (rest, spacer, restOnSpacer Lvol) {
	rest = helper("0000cccc", parent, child.Size, false)
	spacer = helper("0000dddd", parent, child.Size, true)
	restOnSpacer = rest
	restOnSpacer.Parent = spacer.UUID
	return rest, spacer, restOnSpacer
}
