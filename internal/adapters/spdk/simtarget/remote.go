package simtarget

import (
	"errors"
	"time"
)

// remoteNamespace is a namespace of some target, by NSID.
type remoteNamespace struct {
	controller *controller
	nsid       uint32
}

var errUnreachable = errors.New("the namespace cannot be reached")

// ReadAt implements device.
func (n remoteNamespace) ReadAt(p []byte, offset int64) (int, error) {
	return len(p), n.do(func(b *bdev) error { return b.read(p, uint64(offset)) })
}

// WriteAt implements device.
func (n remoteNamespace) WriteAt(p []byte, offset int64) (int, error) {
	return len(p), n.do(func(b *bdev) error { return b.write(p, uint64(offset)) })
}

// Unmap deallocates a range.
func (n remoteNamespace) Unmap(offset, length uint64) error {
	return n.do(func(b *bdev) error { return b.unmap(offset, length) })
}

func (n remoteNamespace) do(access func(*bdev) error) error {
	c := n.controller
	if err := c.ready(); err != nil {
		return err
	}
	b := c.namespace(n.nsid)
	if b == nil {
		return errUnreachable
	}
	if b.quiesced > 0 {
		return errAgain
	}
	return access(b)
}

// ready reports whether I/O can be done now, waits, or fails. While the other end is unreachable it
// waits for fast_io_fail_timeout_sec, while it hangs for the keep-alive time, and while its
// listener is inaccessible for good.
func (c *controller) ready() error {
	now := time.Now()
	dead := !c.alive()
	if !dead && !c.hangs() {
		c.lostAt = time.Time{}
		if c.paths[0].inaccessible() {
			return errAgain
		}
		return nil
	}
	if c.lostAt.IsZero() {
		c.lostAt = now
	}
	patience := keepAlive
	if dead {
		patience = c.fail
	}
	if now.Sub(c.lostAt) < patience || patience == 0 {
		return errAgain
	}
	return errUnreachable
}
