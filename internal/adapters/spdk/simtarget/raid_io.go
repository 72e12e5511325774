package simtarget

import "errors"

// ReadAt reads one base after the other in turn. After an error it reads another one, and writes
// what it has read to the one that failed; if that fails, too, the base is dropped.
func (a *raid) ReadAt(p []byte, offset int64) (int, error) {
	var failed *base
	a.turn++
	for i := range a.bases {
		one := a.bases[(a.turn+i)%len(a.bases)]
		if one.bdev == nil {
			continue
		}
		err := one.bdev.read(p, uint64(offset))
		switch {
		case errors.Is(err, errAgain):
			return 0, err
		case err != nil && failed == nil:
			failed = one
		case err == nil && failed != nil:
			return len(p), a.correct(failed, p, uint64(offset))
		case err == nil:
			return len(p), nil
		}
	}
	if failed != nil {
		a.fail(failed)
	}
	return 0, errNoBase
}

// errNoBase: no base of the RAID has done it.
var errNoBase = errors.New("no base of the RAID is left")

func (a *raid) correct(one *base, p []byte, offset uint64) error {
	err := one.bdev.write(p, offset)
	if errors.Is(err, errAgain) {
		return err
	}
	if err != nil {
		a.fail(one)
	}
	return nil
}

// WriteAt writes all bases. One that fails is dropped; it works if one base is left.
func (a *raid) WriteAt(p []byte, offset int64) (int, error) {
	return len(p), a.all(func(b *bdev) error { return b.write(p, uint64(offset)) })
}

// Unmap deallocates on all bases. The fork drops none that fails, and then fails itself.
func (a *raid) Unmap(offset, length uint64) error {
	if a.bdev.target.config.Flavour == Upstream {
		return a.all(func(b *bdev) error { return b.unmap(offset, length) })
	}
	var failure error
	for _, one := range a.bases {
		if one.bdev == nil {
			continue
		}
		err := one.bdev.unmap(offset, length)
		if errors.Is(err, errAgain) {
			return err
		}
		failure = errors.Join(failure, err)
	}
	return failure
}

// all does the same to all bases.
func (a *raid) all(do func(*bdev) error) error {
	done, again := 0, false
	for _, one := range a.bases {
		if one.bdev == nil {
			continue
		}
		switch err := do(one.bdev); {
		case errors.Is(err, errAgain):
			again = true
		case err != nil:
			a.fail(one)
		default:
			done++
		}
	}
	switch {
	case again:
		return errAgain
	case done == 0:
		return errNoBase
	}
	return nil
}
