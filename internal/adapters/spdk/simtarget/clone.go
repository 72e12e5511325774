package simtarget

import "syscall"

type cloneLvolParams struct {
	Snapshot string `json:"snapshot_name"`
	Name     string `json:"clone_name" optional:"true"`
}

func cloneLvol(t *Target, r *request, p *cloneLvolParams) (any, error) {
	l, err := t.findLvol(p.Snapshot)
	if err != nil {
		return nil, err
	}
	if l.circles() {
		t.hang("an lvol in a cycle is cloned")
		return nil, errLater
	}
	release, errno := l.begin(p.Name, func() syscall.Errno {
		if !l.readOnly() || l.regrafted {
			return syscall.EINVAL
		}
		return 0
	})
	if errno != 0 {
		return nil, as(codeInvalidParams, errno)
	}
	return r.later(func() (any, error) {
		release()
		if errno := l.store.room(p.Name, 0); errno != 0 {
			return nil, as(codeInvalidParams, errno)
		}
		uuid, err := l.store.blobs.Clone(l.uuid, p.Name)
		if err != nil {
			return nil, as(codeInvalidParams, errnoOf(err))
		}
		clone := newLvol(uuid, p.Name, true)
		l.awake = true
		l.store.add(clone)
		clone.keep()
		return uuid, nil
	})
}
