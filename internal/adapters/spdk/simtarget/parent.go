package simtarget

import (
	"errors"
	"syscall"
)

type setParentParams struct {
	Lvol   string `json:"lvol_name"`
	Parent string `json:"parent_name"`
}

// setParent takes a parent that is known as a snapshot and has as many clusters.
// It does not look for cycles: one is accepted, and whoever comes to walk in it
// never returns.
func setParent(t *Target, r *request, p *setParentParams) (any, error) {
	l, err := t.findLvol(p.Lvol)
	if err != nil {
		return nil, err
	}
	parent, err := t.findLvol(p.Parent)
	if err != nil {
		return nil, err
	}
	before := l.parent()
	errno := l.canHaveParent(parent)
	var release func()
	if errno == 0 {
		release, errno = l.hold(parent)
	}
	if errno != 0 {
		if l != parent && errno != syscall.EEXIST {
			l.opened()
			parent.opened()
		}
		return nil, as(codeInvalidParams, errno)
	}
	l.regrafted = true
	finish := func() (any, error) {
		release()
		l.regrafted = false
		if parent.descendsFrom(l) {
			l.loop, l.store.looped = parent, true
		} else {
			if err := l.store.blobs.SetParent(l.uuid, parent.uuid); err != nil {
				return nil, as(codeInvalidParams, errnoOf(err))
			}
			l.loop = nil
		}
		before.opened() // and closed; the new parent stays open
		l.letGo()
		l.external = ""
		l.keep()
		return true, nil
	}
	t.later(func() { l.leaveExternal(r.concluding(finish)) })
	return nil, errLater
}

func (l *lvol) canHaveParent(parent *lvol) syscall.Errno {
	switch {
	case l == parent || l.store != parent.store:
		return syscall.EINVAL
	case l.parent() == parent:
		return syscall.EEXIST
	case !l.thin, !parent.awake, l.state().Size != parent.state().Size:
		return syscall.EINVAL
	}
	return 0
}

// descendsFrom reports whether the other lvol is this one or an ancestor of it.
func (l *lvol) descendsFrom(other *lvol) bool {
	seen := make(map[*lvol]bool)
	for at := l; at != nil && !seen[at]; at = at.parent() {
		if at == other {
			return true
		}
		seen[at] = true
	}
	return false
}

// reshape begins what changes which clusters an lvol has of its parents'. What
// rewrites a snapshot's clusters drops its checksum first, whatever comes of it.
func reshape(r *request, p *named, rewrites bool, check func(*lvol) syscall.Errno, do func(*lvol) error) (any, error) {
	l, err := r.target.findLvol(p.Name)
	if err != nil {
		return nil, err
	}
	if l.circles() {
		r.target.hang("an lvol in a cycle is inflated")
		return nil, errLater
	}
	if rewrites && l.awake {
		l.checksum = nil
		l.keep()
	}
	l.opened()
	release, errno := l.hold()
	if errno != 0 {
		return nil, as(codeInvalidParams, errno)
	}
	return r.later(func() (any, error) {
		release()
		if errno := check(l); errno != 0 {
			return nil, as(codeInvalidParams, errno)
		}
		if !l.thin {
			return true, nil
		}
		before := l.owned()
		parent := l.parent()
		err := do(l)
		parent.opened()
		l.parent().opened()
		l.keepAfter(before)
		if errors.Is(err, errExternalGrandparent) {
			return nil, as(codeInvalidParams, syscall.ENOENT)
		}
		if err != nil {
			return nil, as(codeInvalidParams, errnoOf(err))
		}
		return true, nil
	})
}

// inflateLvol makes every cluster the lvol's own.
func inflateLvol(_ *Target, r *request, p *named) (any, error) {
	return reshape(r, p, true, func(*lvol) syscall.Errno { return 0 }, (*lvol).inflate)
}

func (l *lvol) inflate() error {
	if err := l.store.blobs.Inflate(l.uuid); err != nil {
		return err
	}
	l.dropExternal()
	l.thin = false
	return nil
}

func (l *lvol) loose() bool { return l.external == "" && !l.isClone() }

// decoupleParent copies what the parent owns, and hangs the lvol on the
// grandparent. From an external parent it takes everything.
func decoupleParent(_ *Target, r *request, p *named) (any, error) {
	return reshape(r, p, true, func(l *lvol) syscall.Errno {
		if l.loose() {
			return syscall.EINVAL
		}
		return 0
	}, func(l *lvol) error {
		if l.external != "" {
			return l.inflate()
		}
		if l.hasExternalGrandparent() {
			if err := l.store.blobs.Copy(l.uuid); err != nil {
				return err
			}
			return errExternalGrandparent
		}
		return l.store.blobs.Decouple(l.uuid)
	})
}

// errExternalGrandparent: what the parent reads through to cannot become the parent. It
// is opened like a blob, and there is none (bs_inflate_blob_done), after the parent's
// clusters were copied.
var errExternalGrandparent = errors.New("the parent reads through to an external bdev")

func (l *lvol) hasExternalGrandparent() bool {
	parent := l.parent()
	return parent != nil && parent.external != ""
}

// detachParent copies nothing. Like decoupling, it gives the lvol its grandparent as
// its parent, where there is one (bs_inflate_blob_done).
func detachParent(_ *Target, r *request, p *named) (any, error) {
	return reshape(r, p, false, func(l *lvol) syscall.Errno {
		if l.loose() || l.external != "" {
			return syscall.EINVAL
		}
		return 0
	}, func(l *lvol) error {
		if l.hasExternalGrandparent() {
			return errExternalGrandparent
		}
		return l.store.blobs.SetParent(l.uuid, l.store.blobs.Look(l.state().Parent).Parent)
	})
}
