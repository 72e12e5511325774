package simtarget

import "syscall"

// setParentBdev has an lvol read through to a bdev, instead of to its parent.
func setParentBdev(t *Target, r *request, p *setParentParams) (any, error) {
	l, err := t.findLvol(p.Lvol)
	if err != nil {
		return nil, err
	}
	outside := t.find(p.Parent)
	errno := syscall.Errno(0)
	switch {
	case outside == nil:
		errno = syscall.ENODEV
	case outside.uuid == l.uuid, outside.size()%l.store.clusterSize != 0, !l.thin:
		errno = syscall.EINVAL
	case l.external == outside.uuid:
		errno = syscall.EEXIST
	}
	var release func()
	if errno == 0 {
		release, errno = l.hold()
	}
	if errno != 0 {
		return nil, as(codeInvalidParams, errno)
	}
	finish := func() (any, error) {
		release()
		if outside.gone || outside.take(readOnlyShared) != 0 {
			return nil, as(codeInvalidParams, syscall.EPERM)
		}
		before := l.parent()
		if err := l.store.blobs.SetParent(l.uuid, ""); err != nil {
			return nil, as(codeInvalidParams, errnoOf(err))
		}
		before.opened()
		l.letGo()
		l.loop, l.external, l.outside = nil, outside.uuid, outside
		l.store.blobs.SetExternal(l.uuid, throughBdev{outside})
		l.keep()
		return true, nil
	}
	t.later(func() { l.leaveExternal(r.concluding(finish)) })
	return nil, errLater
}
