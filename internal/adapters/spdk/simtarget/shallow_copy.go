package simtarget

import (
	"errors"
	"syscall"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// shallowCopy is one that goes on, or whose end nobody has asked for yet.
type shallowCopy struct {
	target  *Target
	source  *lvol
	into    *bdev
	own     memory.Clusters
	content []byte    // of the cluster that is being copied
	since   time.Time // when the destination's target was first seen hanging
	copied  uint64
	total   uint64
	errno   syscall.Errno
	writing bool // a write has begun that the destination holds back
	over    bool
	release func()
	stopped chan struct{} // closed when the target ends
}

func (c *shallowCopy) stop() {
	select {
	case <-c.stopped:
	default:
		close(c.stopped)
	}
}

type startShallowCopyParams struct {
	Source string `json:"src_lvol_name"`
	Into   string `json:"dst_bdev_name"`
}

func startShallowCopy(t *Target, r *request, p *startShallowCopyParams) (any, error) {
	source, err := t.findLvol(p.Source)
	if err != nil {
		return nil, err
	}
	t.copiesSoFar++ // also where it is refused
	into := t.find(p.Into)
	errno := syscall.ENODEV
	if into != nil {
		errno = into.canTakeCopy()
	}
	if errno != 0 {
		return nil, as(codeInvalidParams, errno)
	}
	_ = into.take(oneWriter) // nobody has it
	c := &shallowCopy{target: t, source: source, into: into, stopped: make(chan struct{})}
	c.total = source.state().Own.Count
	id := t.copiesSoFar
	t.copies[id] = c
	t.later(c.begin)
	return map[string]uint32{"operation_id": id}, nil
}

// canTakeCopy opens the bdev for one writer, which nobody else may be. That it is
// read-only, or the source itself, shows in the first write.
func (b *bdev) canTakeCopy() syscall.Errno {
	if b.claim != unclaimed || b.examined {
		return syscall.EPERM
	}
	if b.nvme != nil && !b.nvme.alive() {
		return syscall.ENOMEM // no I/O channel
	}
	return 0
}

// begin finds out what start did not look at.
func (c *shallowCopy) begin() {
	source := c.source
	source.opened()
	var errno syscall.Errno
	switch state := source.state(); {
	case !state.ReadOnly:
		errno = syscall.EPERM
	case state.Size > c.into.size(), source.store.base.blockSize%c.into.blockSize != 0:
		errno = syscall.EINVAL
	default:
		c.release, errno = source.hold()
	}
	if errno != 0 {
		c.end(errno)
		return
	}
	c.own = source.store.blobs.Clusters(source.uuid)
	c.total = uint64(len(c.own.Positions))
	if c.total == 0 {
		c.end(0)
		return
	}
	c.target.serving.Go(c.run)
}

// run copies cluster by cluster. Between two of them the target does other things.
func (c *shallowCopy) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.stopped:
			return
		case <-timer.C:
		}
		wait, more := c.step()
		if !more {
			return
		}
		timer.Reset(wait)
	}
}

// lookingAgain is how often a copy that cannot go on looks whether it can: a limit
// may be lifted, and a destination that hangs may be started again.
const lookingAgain = 10 * time.Millisecond

// step copies the next cluster, or tells how long to wait for that. It ends with the
// copy, and with a target that hangs.
func (c *shallowCopy) step() (wait time.Duration, more bool) {
	c.target.world(func() {
		if wait, more = c.mustWait(), true; wait == 0 {
			wait, more = c.copyNext()
		}
	})
	return wait, more
}

// mustWait is for the limits of the destination, and of the bdev behind it at another
// target, and for a target that hangs: until the keep-alive time is over, and the
// write fails.
func (c *shallowCopy) mustWait() time.Duration {
	now := time.Now()
	if c.into.nvme != nil && c.into.nvme.hangs() {
		if c.since.IsZero() {
			c.since = now
		}
		if now.Sub(c.since) < keepAlive {
			return lookingAgain
		}
	} else {
		c.since = time.Time{}
	}
	if !c.writing && c.into.isPaused() {
		return lookingAgain
	}
	limited := c.into.limited()
	for _, b := range limited {
		if wait := b.limits.nextWrite.Sub(now); wait > 0 {
			c.writing = true
			return min(wait, lookingAgain)
		}
	}
	c.writing = false
	for _, b := range limited {
		b.limits.book(c.source.store.clusterSize, now)
	}
	return 0
}

// isPaused reports whether the namespace's subsystem is paused for it.
func (b *bdev) isPaused() bool {
	if b.nvme == nil {
		return false
	}
	s := b.nvme.subsystem()
	return s != nil && s.isPausedFor(b.nsid)
}

// limited are the bdev, the one behind it at another target, and the disk under
// that, whose limits all hold.
func (b *bdev) limited() []*bdev {
	all := []*bdev{b}
	if b.nvme != nil {
		if behind := b.nvme.namespace(b.nsid); behind != nil {
			all = append(all, behind)
		}
	}
	if last := all[len(all)-1]; last.lvol != nil {
		all = append(all, last.lvol.store.base)
	}
	return all
}

// copyNext copies a cluster, unless its write has to wait: the destination's target is gone, and the
// timeouts of the controller are not over.
func (c *shallowCopy) copyNext() (wait time.Duration, more bool) {
	size := c.source.store.clusterSize
	i := c.own.Positions[c.copied]
	if c.content == nil {
		c.content = make([]byte, size)
	}
	c.own.Read(i, c.content)
	switch err := c.into.write(c.content, i*size); {
	case errors.Is(err, errAgain):
		return lookingAgain, true
	case err != nil:
		c.end(syscall.EIO) // whatever it was
		return 0, false
	}
	c.copied++
	if c.copied == c.total {
		c.end(0)
		return 0, false
	}
	return 0, true
}

func (c *shallowCopy) end(errno syscall.Errno) {
	c.errno, c.over = errno, true
	if c.release != nil {
		c.release()
	}
	c.into.release()
}

type checkShallowCopyParams struct {
	ID uint32 `json:"operation_id"`
}

// checkShallowCopy hands the end of a copy out once.
func checkShallowCopy(t *Target, r *request, p *checkShallowCopyParams) (any, error) {
	c := t.copies[p.ID]
	if c == nil {
		return nil, syscall.ENODEV
	}
	status := struct {
		Copied uint64 `json:"copied_clusters"`
		Total  uint64 `json:"total_clusters"`
		State  string `json:"state"`
		Error  string `json:"error,omitempty"`
	}{Copied: c.copied, Total: c.total, State: "in progress"}
	switch {
	case c.errno != 0:
		status.State, status.Error = "error", text(c.errno)
		delete(t.copies, p.ID)
	case c.copied == c.total:
		status.State = "complete"
		delete(t.copies, p.ID)
	}
	return status, nil
}
