package simtarget

import (
	"errors"
	"slices"
	"syscall"
)

// deleteLvol takes the bdev away at once, and then finds out whether the lvol can
// go: what is busy is listed nowhere any more, until a restart.
func deleteLvol(t *Target, r *request, p *named) (any, error) {
	l := t.findAny(p.Name)
	if l == nil {
		return nil, syscall.ENODEV
	}
	if l.circles() {
		t.hang("an lvol in a cycle is deleted")
		return nil, errLater
	}
	clones := l.clones()
	unlisted, hidden := l.unlisted()
	switch has := len(clones) + unlisted; {
	case l.bdev != nil && t.isWrittenTo(l.bdev):
		// A real target waits for what is being written if this is the only one that
		// goes at the moment, and breaks if not.
		t.die(errWrittenTo)
		return nil, errLater
	case has == 0 && l.bdev != nil && t.readsThrough(l.bdev):
		t.stick(l.bdev)
		return nil, errLater
	case has > 1:
		return nil, as(codeInternalError, syscall.EPERM)
	case unlisted == 1 && (hidden == nil || t.config.Flavour == Fork):
		// Its bdev is closed, its lvol is no more (spdk_lvol_destroy).
		t.die(errors.New("crashed: a snapshot was deleted whose clone is not listed"))
		return nil, errLater
	case unlisted == 1:
		clones = []*lvol{hidden}
	}
	if err := l.deadly(); err != nil {
		t.die(err)
		return nil, errLater
	}
	var clone *lvol
	if len(clones) > 0 {
		clone = clones[0]
	}
	return l.destroy(r, clone)
}

// stick has a delete wait for the esnap clone that reads the bdev, which does not know
// it.
func (t *Target) stick(b *bdev) {
	b.stuck = true
	for _, name := range b.names() {
		delete(t.byName, name)
	}
	t.bdevs = slices.DeleteFunc(t.bdevs, func(other *bdev) bool { return other == b })
}

// deadly says how a target ends that deletes the lvol as it is.
func (l *lvol) deadly() error {
	switch {
	case l.resizing:
		return errors.New("crashed: an lvol was deleted while it was resized")
	case l.brittle:
		return errors.New("crashed: an esnap clone was deleted whose external bdev had been somebody else's when it was made")
	case l.outside != nil && l.outside.gone:
		return errors.New("crashed: an esnap clone was deleted whose external bdev is gone")
	case l.outside != nil && l.outside.stuck:
		return errors.New("crashed: an esnap clone was deleted whose external bdev was being deleted")
	}
	return nil
}

// destroy deletes the lvol, and merges it into its clone, if it has one.
func (l *lvol) destroy(r *request, clone *lvol) (any, error) {
	if l.bdev != nil {
		r.target.unregister(l.bdev)
	}
	l.parent().opened() // it has lost a child
	var others []*lvol
	if clone != nil {
		others = append(others, clone)
	}
	release, errno := l.hold(others...)
	if errno == 0 && l.overfull {
		release()
		errno = syscall.EINVAL
	}
	l.leave()
	if clone != nil && clone.awake {
		clone.checksum = nil // whatever comes of it (spdk_lvol_destroy)
		clone.keep()
	}
	if errno != 0 {
		_ = l.store.blobs.Destroy(l.uuid) // hides it
		l.store.hidden = append(l.store.hidden, l)
		return nil, as(codeInternalError, errno)
	}
	l.store.pending[l.name] = true
	return r.later(func() (any, error) {
		release()
		delete(l.store.pending, l.name)
		if err := l.mergeInto(clone); err != nil {
			return nil, as(codeInternalError, errnoOf(err))
		}
		l.letGo()
		l.erase()
		return true, nil
	})
}

// mergeInto ends the lvol, and gives the clone what it owns; nil: there is none.
func (l *lvol) mergeInto(clone *lvol) error {
	if clone == nil {
		return l.store.blobs.Destroy(l.uuid)
	}
	before := clone.owned()
	size := clone.state().Size / l.store.clusterSize
	clone.misfit = clone.takesOver(l)
	clone.overfull = clone.overfull || l.overfull || slices.ContainsFunc(l.owned(), func(i uint64) bool { return i >= size })
	if err := l.store.blobs.Destroy(l.uuid); err != nil {
		return err
	}
	clone.inherit(l)
	clone.keepAfter(before)
	return nil
}

// leave takes the lvol out of every listing.
func (l *lvol) leave() {
	delete(l.store.lvols, l.uuid)
	l.store.inOrder = slices.DeleteFunc(l.store.inOrder, func(other *lvol) bool { return other == l })
}

// opened: the blob is opened and closed, which writes down what is not yet: the new
// name of a snapshot (spdk_blob_close).
func (l *lvol) opened() {
	if l != nil && l.written != l.name {
		l.keep()
	}
}

// inherit takes over what a deleted lvol read through to.
func (l *lvol) inherit(from *lvol) {
	if from.external != "" {
		l.external = from.external
		l.lookOutside()
	}
}
