package simtarget

import "syscall"

// setParentBdev has an lvol read through to a bdev, instead of to what it hung on.
func setParentBdev(t *Target, r *request, p *setParentParams) {
	l := t.findLvol(r, p.Lvol)
	if l == nil {
		return
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
		r.errnoAs(codeInvalidParams, errno)
		return
	}
	finish := func() {
		release()
		if outside.gone || outside.take(readOnlyShared) != 0 {
			r.errnoAs(codeInvalidParams, syscall.EPERM)
			return
		}
		before := l.parent()
		if err := l.store.blobs.SetParent(l.uuid, ""); err != nil {
			r.errnoAs(codeInvalidParams, errnoOf(err))
			return
		}
		before.opened()
		l.letGo()
		l.loop, l.external, l.outside = nil, outside.uuid, outside
		l.store.blobs.SetExternal(l.uuid, throughBdev{outside})
		l.keep()
		r.result(true)
	}
	t.later(func() { l.leaveExternal(finish) })
}
