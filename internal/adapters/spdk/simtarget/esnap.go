package simtarget

import (
	"errors"
	"syscall"
	"time"
)

type cloneBdevParams struct {
	Bdev  string `json:"bdev"`
	Store string `json:"lvs_name"`
	Name  string `json:"clone_name"`
}

// cloneBdev makes an esnap clone: an lvol that reads through to a bdev outside of
// its lvstore, which it remembers by UUID.
func cloneBdev(t *Target, r *request, p *cloneBdevParams) (any, error) {
	s, outside := t.storeByName(p.Store), t.find(p.Bdev)
	switch {
	case s == nil:
		return nil, refusal(codeInvalidParams, "lvs does not exist")
	case outside == nil:
		return nil, refusal(codeInvalidParams, "bdev does not exist")
	case outside.lvol != nil && outside.lvol.store == s:
		return nil, refusal(codeInvalidParams, "bdev is an lvol in same lvs as clone; use bdev_lvol_clone instead")
	}
	errno := s.checkName(p.Name)
	if errno == 0 && outside.size()%s.clusterSize != 0 {
		errno = syscall.EINVAL
	}
	if errno != 0 {
		return nil, as(codeInvalidParams, errno)
	}
	s.pending[p.Name] = true
	return r.later(func() (any, error) {
		delete(s.pending, p.Name)
		if errno := s.room(p.Name, 0); errno != 0 {
			return nil, as(codeInvalidParams, errno)
		}
		uuid, err := s.blobs.Create(p.Name, outside.size())
		if err != nil {
			return nil, as(codeInvalidParams, errnoOf(err))
		}
		l := newLvol(uuid, p.Name, true)
		l.store, l.external = s, outside.uuid
		l.lookOutside()
		l.degraded = l.outside == nil // somebody else has the bdev
		l.brittle = l.degraded
		s.add(l)
		l.keep()
		return uuid, nil
	})
}

var errBeyond = errors.New("read beyond the end of the external bdev")

// throughBdev reads a bdev; beyond its end nothing can be read, also where the esnap
// clone has become longer.
type throughBdev struct{ *bdev }

func (b throughBdev) ReadAt(p []byte, offset int64) (int, error) {
	at := uint64(offset)
	if at >= b.size() {
		return 0, errBeyond
	}
	n := min(uint64(len(p)), b.size()-at)
	err := b.read(p[:n], at)
	b.readThrough = time.Now()
	if errors.Is(err, errAgain) {
		b.waitedFor = b.readThrough
	}
	if err != nil {
		return 0, err
	}
	return int(n), nil
}

// exchanging is how long it takes to exchange an external snapshot.
const exchanging = time.Millisecond

// leaveExternal does what takes the lvol off its external snapshot, after a moment. A target
// closes its channels to that bdev without waiting for reads, and crashes when one ends later
// (blob_set_back_bs_dev): whoever writes to or reads the lvol has to be frozen.
func (l *lvol) leaveExternal(do func()) {
	outside := l.outside
	if outside == nil {
		do()
		return
	}
	began := time.Now()
	if outside.stalled() {
		began = time.Time{}
	}
	l.store.target.after(exchanging, func() {
		if outside.readThrough.After(began) {
			l.store.target.die(errExchanged)
			return
		}
		do()
	})
}

// stalled reports whether a read of an esnap clone waits: it is tried again and again.
func (b *bdev) stalled() bool {
	return b.nvme != nil && errors.Is(b.nvme.ready(), errAgain) && time.Since(b.waitedFor) <= 2*lookingAgain
}

var errExchanged = errors.New("crashed: an external snapshot was exchanged while it was read")

// lookOutside finds and claims the external bdev, if it is there and nobody else has
// it.
func (l *lvol) lookOutside() {
	if l.external == "" || l.outside != nil {
		return
	}
	b := l.store.target.find(l.external)
	if b == nil || b.take(readOnlyShared) != 0 {
		return
	}
	l.outside = b
	l.store.blobs.SetExternal(l.uuid, throughBdev{b})
}

// letGo forgets the external bdev.
func (l *lvol) letGo() {
	if l.outside != nil {
		l.outside.release()
		l.outside = nil
	}
}

// dropExternal takes the lvol off its external snapshot for good.
func (l *lvol) dropExternal() {
	l.letGo()
	l.external = ""
	l.store.blobs.SetExternal(l.uuid, nil)
}

// readsThrough reports whether an esnap clone has the bdev open.
func (t *Target) readsThrough(b *bdev) bool {
	for _, s := range t.stores {
		for _, l := range s.inOrder {
			if l.outside == b {
				return true
			}
		}
	}
	return false
}

// appeared makes whole what had missed the bdev (vbdev_lvs_hotplug).
func (t *Target) appeared(b *bdev) {
	for _, s := range t.stores {
		for _, l := range s.inOrder {
			if l.external == b.uuid {
				l.lookOutside()
			}
		}
		s.heal()
	}
}

// heal shows what is degraded no more.
func (s *lvstore) heal() {
	for _, l := range s.inOrder {
		if l.degraded && !l.lacks() {
			l.degraded = false
			l.show()
		}
	}
}

// lacks reports whether something that the lvol reads through to is missing.
func (l *lvol) lacks() bool {
	for up := l; up != nil; up = up.parent() {
		if up.external != "" && up.outside == nil {
			return true
		}
	}
	return false
}
