package domain

// PlanCreation plans a new replica without snapshots: a head that is cloned from the
// volume's base, or is empty if the volume has none, and that records the base. A missing
// entry point of a linked clone is made. size is in bytes.
func PlanCreation(store Listing, name string, size uint64, base Base) (Plan, error) {
	r, err := NewReplica(store, name)
	if err != nil {
		return Plan{}, err
	}
	if r.Head != nil {
		return Plan{}, refuse("replica %s is already on lvstore %s", name, store.Name)
	}
	if r.Exists() {
		return Plan{}, refuse("leftovers of replica %s are on lvstore %s: rebuild or delete the replica first", name, store.Name)
	}
	if err := r.refuseNames([]string{name, InFlightLvolName(name, "00000000")}); err != nil {
		return Plan{}, err
	}
	if err := store.refuseSize(size); err != nil {
		return Plan{}, err
	}
	parent, err := store.baseFor(base, size)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Base: base}
	if _, _, isClone := base.Clone(); isClone {
		if parent, err = r.planCloneBase(&plan, size); err != nil {
			return Plan{}, err
		}
	}
	head := len(plan.Operations)
	plan.Operations = append(plan.Operations, Operation{
		Verb: VerbClone, Stage: StageCreateHead, Target: Ref{refHead, name}, Parent: parent,
		Name: name, Size: size, Record: base.Record(),
	})
	plan.Steps = append(plan.Steps, Step{Action: ActionCreateHead, Parent: base.Parent(), Reason: "a new replica", Operations: []int{head}})
	return plan, nil
}

// planCloneBase finds the entry point of a linked clone of size bytes, or adds its creation
// to the plan.
func (r Replica) planCloneBase(plan *Plan, size uint64) (Ref, error) {
	if err := plan.Base.refuseOwn(r.Name); err != nil {
		return Ref{}, err
	}
	found, err := r.index.findCloneBase(plan.Base)
	if err != nil {
		return Ref{}, err
	}
	plan.Clone = found.placed(plan.Base)
	switch {
	case found.size > size:
		return Ref{}, refuse("%s has %d bytes, more than the %d of the volume", plan.Base, found.size, size)
	case found.entryPoint != notMade:
		return listed(r.Store.Lvols[found.entryPoint]), nil
	}
	name := plan.Clone.EntryPoint
	if err := r.refuseNames([]string{name}); err != nil {
		return Ref{}, err
	}
	plan.Operations = r.index.makeEntryPoint(plan.Base, found, 0)
	plan.Steps = []Step{r.index.entryPointStep(found, []int{0, 1, 2})}
	return Ref{refEntryPoint, name}, nil
}

func (s Listing) refuseSize(size uint64) error {
	if size == 0 || s.ClusterSize == 0 || size%s.ClusterSize != 0 {
		return refuse("a volume of %d bytes does not fit on lvstore %s: expected a multiple of its cluster size of %d bytes", size, s.Name, s.ClusterSize)
	}
	return nil
}

// baseFor is the image as the parent of an lvol of that size in bytes.
func (s Listing) baseFor(base Base, size uint64) (Ref, error) {
	name, ok := base.Image()
	if !ok {
		if !base.Known() {
			return Ref{}, refuse("the volume's base is not known: give a backing image, a snapshot of another volume, or none (--base)")
		}
		return Ref{}, nil
	}
	here, isHere := s.BackingImage(name)
	switch {
	case !isHere:
		return Ref{}, refuse("backing image %s is not on lvstore %s: import it", name, s.Name)
	case here.defect() != "":
		return Ref{}, refuse("backing image %s on lvstore %s %s, so it cannot be used", name, s.Name, here.defect())
	case here.Lvol.Size > size:
		return Ref{}, refuse("backing image %s has %d bytes, more than the %d of the volume", name, here.Lvol.Size, size)
	}
	return listed(here.Lvol), nil
}
