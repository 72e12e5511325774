package simtarget

import (
	"encoding/json"
	"syscall"
)

// xattrsParam are names and values; null is none.
type xattrsParam map[string]string

func (x *xattrsParam) decode(raw json.RawMessage) bool {
	var given map[string]any
	if json.Unmarshal(raw, &given) != nil {
		return false
	}
	*x = make(xattrsParam, len(given))
	for name, value := range given {
		text, ok := value.(string)
		if !ok {
			return false
		}
		(*x)[name] = text
	}
	return true
}

type snapshotLvolParams struct {
	Lvol   string      `json:"lvol_name"`
	Name   string      `json:"snapshot_name"`
	Xattrs xattrsParam `json:"xattrs" optional:"true" flavour:"fork"`
}

// snapshotLvol moves the lvol's clusters and its parent to the snapshot.
func snapshotLvol(t *Target, r *request, p *snapshotLvolParams) (any, error) {
	l, err := t.findLvol(p.Lvol)
	if err != nil {
		return nil, err
	}
	release, errno := l.begin(p.Name, func() syscall.Errno {
		if l.readOnly() {
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
			if errno == syscall.EEXIST { // it was made, and then merged into the lvol again
				l.thin = true
				l.keep()
			}
			return nil, as(codeInvalidParams, errno)
		}
		uuid, err := l.store.blobs.Snapshot(l.uuid, p.Name)
		if err != nil {
			return nil, as(codeInvalidParams, errnoOf(err))
		}
		snapshot := newLvol(uuid, p.Name, l.thin)
		snapshot.awake, snapshot.xattrs = true, p.Xattrs
		snapshot.data, l.data = l.data, newUUID()
		snapshot.external, snapshot.outside, l.external, l.outside = l.external, l.outside, "", nil
		snapshot.overfull, l.overfull = l.overfull, false
		snapshot.misfit, l.misfit = l.misfit, nil
		snapshot.loop, l.loop = l.loop, nil
		l.thin = true
		l.store.add(snapshot)
		l.store.keep(snapshot, l)
		return uuid, nil
	})
}

// begin starts what gives a name: the name first, then the lvol, then its lock.
func (l *lvol) begin(name string, check func() syscall.Errno) (release func(), errno syscall.Errno) {
	if errno := l.store.checkName(name); errno != 0 {
		return nil, errno
	}
	renamed := l.written != l.name
	l.opened()
	if errno := check(); errno != 0 {
		if renamed { // its blob is written as it is closed, and until then the name is given
			l.store.pending[name] = true
			l.store.target.later(func() { delete(l.store.pending, name) })
		}
		return nil, errno
	}
	held, errno := l.hold()
	if errno != 0 {
		return nil, errno
	}
	l.store.pending[name] = true
	return func() {
		held()
		delete(l.store.pending, name)
	}, 0
}
