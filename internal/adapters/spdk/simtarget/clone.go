package simtarget

import "syscall"

type cloneLvolParams struct {
	Snapshot string `json:"snapshot_name"`
	Name     string `json:"clone_name" optional:"true"`
}

func cloneLvol(t *Target, r *request, p *cloneLvolParams) {
	l := t.findLvol(r, p.Snapshot)
	if l == nil {
		return
	}
	if l.circles() {
		t.hang("an lvol in a cycle is cloned")
		return
	}
	release, errno := l.begin(p.Name, func() syscall.Errno {
		if !l.readOnly() || l.regrafted {
			return syscall.EINVAL
		}
		return 0
	})
	if errno != 0 {
		r.errnoAs(codeInvalidParams, errno)
		return
	}
	t.later(func() {
		release()
		if errno := l.store.room(p.Name, 0); errno != 0 {
			r.errnoAs(codeInvalidParams, errno)
			return
		}
		uuid, err := l.store.blobs.Clone(l.uuid, p.Name)
		if err != nil {
			r.errnoAs(codeInvalidParams, errnoOf(err))
			return
		}
		clone := newLvol(uuid, p.Name, true)
		l.awake = true
		l.store.add(clone)
		clone.keep()
		r.result(uuid)
	})
}
