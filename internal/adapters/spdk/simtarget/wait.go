package simtarget

import (
	"errors"
	"fmt"
	"time"
)

// errAgain is the outcome of an I/O that can neither be done now nor has failed. Whoever began it
// tries again later: what it has written until then it writes once more.
var errAgain = errors.New("the I/O waits")

// perform does an I/O of a client, and waits as long as that takes. It does not begin while
// keptOut returns an error, and waits if that is errAgain. It is called without the fabric's lock.
func (t *Target) perform(b *bdev, keptOut, do func() error) error {
	begun := false
	for {
		err := fmt.Errorf("%s: it does not answer", t)
		t.world(func() {
			if err = nil; !begun {
				err = keptOut()
			}
			if err == nil {
				err = b.attempt(&begun, do)
			}
		})
		if !errors.Is(err, errAgain) {
			return err
		}
		select {
		case <-time.After(lookingAgain):
		case <-t.dead:
		}
	}
}

// attempt begins an I/O, unless the bdev is quiesced, or goes on with it.
func (b *bdev) attempt(begun *bool, do func() error) error {
	if b.quiesced > 0 && !*begun {
		return errAgain
	}
	err := do()
	waits := errors.Is(err, errAgain)
	if waits && !*begun {
		b.waiting++
	}
	if !waits && *begun {
		b.waiting--
	}
	*begun = waits
	return err
}

// quiesce does something when no I/O is on its way; what comes meanwhile waits
// (spdk_bdev_quiesce).
func (b *bdev) quiesce(do func()) {
	b.quiesced++
	t := b.target
	var look func()
	look = func() {
		if b.waiting > 0 && !b.gone {
			t.after(lookingAgain, look)
			return
		}
		b.quiesced--
		do()
	}
	t.later(look)
}
