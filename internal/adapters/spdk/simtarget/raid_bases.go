package simtarget

import (
	"errors"
	"math"
	"slices"
	"syscall"
)

// fail drops a base that has failed, or while drops are held lets it fail on.
func (a *raid) fail(one *base) {
	if a.bdev.target.holdsDrops {
		one.failed = true
		return
	}
	a.drop(one)
}

// HoldDrops has RAIDs keep the bases that fail from now on, for as long as it is true. A real
// target answers the client first, and drops such a base a moment later.
func (t *Target) HoldDrops(hold bool) {
	t.world(func() {
		t.holdsDrops = hold
		for _, a := range slices.Clone(t.raids) {
			for _, one := range a.bases {
				if !hold && one.failed && one.bdev != nil {
					a.drop(one)
				}
			}
		}
	})
}

// drop empties a slot. A RAID goes with its last base.
func (a *raid) drop(one *base) {
	one.bdev.release()
	one.bdev = nil
	if a.filled() == 0 && a.online {
		t := a.bdev.target
		t.later(func() { t.unregister(a.bdev) })
	}
}

// leaveRAIDs empties the slot of a bdev that goes.
func (t *Target) leaveRAIDs(b *bdev) {
	for _, a := range slices.Clone(t.raids) {
		if one := a.slotOf(b); one != nil {
			one.bdev = nil
			b.release()
			if a.filled() == 0 && a.online {
				t.unregister(a.bdev)
			}
		}
	}
}

// slotOf is the slot that has the bdev; nil: none.
func (a *raid) slotOf(b *bdev) *base {
	for _, one := range a.bases {
		if one.bdev == b {
			return one
		}
	}
	return nil
}

// resizeRAID gives the RAID that the bdev is a base of the size of the smallest base
// (raid1_resize).
func (b *bdev) resizeRAID() {
	for _, a := range b.target.raids {
		if a.slotOf(b) != nil {
			a.resize()
		}
	}
}

func (a *raid) resize() {
	smallest := uint64(math.MaxUint64)
	for _, one := range a.bases {
		if one.bdev != nil {
			smallest = min(smallest, one.bdev.blocks)
		}
	}
	if smallest == a.bdev.blocks || smallest < a.bdev.blocks && a.bdev.claim != unclaimed {
		return
	}
	a.bdev.blocks = smallest
	for _, one := range a.bases {
		one.blocks = smallest
	}
}

type raidGrowParams struct {
	Name string `json:"raid_name"`
	Base string `json:"base_name"`
}

// raidGrow adds a base as a full member at once, in a slot that is empty or a new one. It waits
// for the I/O that has begun, and reads the base. One that it cannot read it holds until its end
// (raid_bdev_configure_base_bdev_check_sb_cb).
func raidGrow(t *Target, r *request, p *raidGrowParams) (any, error) {
	a, b := t.raid(p.Name), t.find(p.Base)
	switch {
	case a == nil:
		return nil, refusal(-int(syscall.ENODEV), "raid bdev %s not found", p.Name)
	case b == nil:
		return nil, refusal(-int(syscall.ENODEV), "base bdev %s not found", p.Base)
	case a.slotOf(b) != nil:
		return true, nil
	case !a.online:
		return nil, refusal(-int(syscall.EINVAL), "Failed to grow raid %s adding base bdev %s: %s", p.Name, p.Base, text(syscall.EINVAL))
	}
	return r.quiesce(a.bdev, func() (any, error) {
		if a.bdev.gone {
			return nil, as(codeInternalError, syscall.ENODEV)
		}
		i := slices.IndexFunc(a.bases, func(other *base) bool { return other.bdev == nil && other.held == nil })
		if i < 0 {
			i = len(a.bases)
			a.bases = append(a.bases, &base{}) // which stays, whatever comes of it
		}
		one, errno := t.newBase(a, p.Base)
		if errno != 0 {
			return nil, as(codeInternalError, errno)
		}
		a.readNew(one, func(err error) {
			if a.bdev.gone {
				one.bdev.release()
				r.conclude(nil, as(codeInternalError, syscall.ENODEV))
				return
			}
			a.bases[i] = one
			if err != nil {
				one.held, one.bdev = one.bdev, nil
				r.conclude(nil, as(codeInternalError, syscall.EIO))
				return
			}
			r.conclude(true, nil)
		})
		return nil, errLater
	})
}

// readNew reads a base that is new. Meanwhile no I/O of the RAID begins.
func (a *raid) readNew(one *base, do func(error)) {
	a.bdev.quiesced++
	var look func()
	look = func() {
		err := one.bdev.read(make([]byte, one.bdev.blockSize), 0)
		if errors.Is(err, errAgain) {
			a.bdev.target.after(lookingAgain, look)
			return
		}
		a.bdev.quiesced--
		do(err)
	}
	look()
}

// raidRemoveBase empties a slot when the I/O that has begun is over.
func raidRemoveBase(t *Target, r *request, p *named) (any, error) {
	b := t.find(p.Name)
	var a *raid
	for _, one := range t.raids {
		if b != nil && one.slotOf(b) != nil {
			a = one
		}
	}
	if a == nil {
		return nil, refusal(-int(syscall.ENODEV), "Failed to remove base bdev from raid bdev")
	}
	return r.quiesce(a.bdev, func() (any, error) {
		if one := a.slotOf(b); one != nil {
			a.drop(one)
		}
		return true, nil
	})
}
