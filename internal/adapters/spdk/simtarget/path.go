package simtarget

import (
	"slices"
	"syscall"
	"time"
)

// path is a way to a subsystem: a listener of some target.
type path struct {
	controller *controller
	trid       trid
	id         int // of the controller at the other end
}

// subsystem is the other end, while it can be reached.
func (p *path) subsystem() *subsystem {
	c := p.controller
	l := c.target.fabric.listeners[p.trid.key()]
	if l == nil || c.gone {
		return nil
	}
	s := l.target.subsystems[p.trid.NQN]
	if s == nil || !s.admits(c.host) || !slices.Contains(s.listeners, l) {
		return nil
	}
	return s
}

func (p *path) alive() bool { return p.subsystem() != nil }

func (p *path) hangs() bool {
	s := p.subsystem()
	return s != nil && s.target.hangs
}

// inaccessible reports whether the listener's ANA state keeps I/O out.
func (p *path) inaccessible() bool {
	s := p.subsystem()
	return s != nil && s.ana && s.states[p.trid.key()] == anaInaccessible
}

// connects makes a controller at the other end.
func (p *path) connects(r *request) error {
	t := p.controller.target
	switch {
	case t.fabric.listeners[p.trid.key()] == nil && t.config.Flavour == Fork:
		return syscall.ENODEV
	case !p.alive():
		return syscall.EIO
	case p.hangs():
		t.after(keepAlive, func() { r.conclude(nil, syscall.EIO) })
		return errLater
	}
	p.id = p.subsystem().newController()
	return nil
}

// newController is the ID of one, in the subsystem's range.
func (s *subsystem) newController() int {
	s.created++
	return s.leastID + (s.created-1)%(s.mostID-s.leastID+1)
}

// addPath adds a path for failover to a controller that is there.
func (c *controller) addPath(r *request, p *attachParams, at trid) (any, error) {
	used := c.paths[0]
	switch {
	case used.trid.key() == at.key():
		return nil, refusal(-int(syscall.EALREADY), "A controller named %s already exists with the specified network path", c.name)
	case p.Mode == "disable":
		return nil, refusal(-int(syscall.EALREADY), "A controller named %s already exists and multipath is disabled", c.name)
	case used.trid.NQN != at.NQN:
		return nil, refusal(-int(syscall.EINVAL), "A controller named %s already exists, but uses a different subnqn (%s)", c.name, used.trid.NQN)
	case c.host != p.Host:
		return nil, refusal(-int(syscall.EINVAL), "A controller named %s already exists, but uses a different hostnqn (%s)", c.name, c.host)
	}
	other := &path{controller: c, trid: at}
	return r.later(func() (any, error) {
		if err := other.connects(r); err != nil {
			return nil, err
		}
		switch {
		case slices.ContainsFunc(c.paths, func(one *path) bool { return one.trid.key() == at.key() }):
			return nil, syscall.EALREADY
		case !c.servesTheSame(other.subsystem()):
			return nil, syscall.EINVAL
		}
		c.paths = append(c.paths, other)
		return []string{}, nil // no bdev is new
	})
}

// servesTheSame reports whether a subsystem has every namespace of the controller's, under the same
// identifiers (bdev_nvme_check_secondary_namespace).
func (c *controller) servesTheSame(other *subsystem) bool {
	for nsid := range c.bdevs {
		ours, theirs := c.subsystem(), other.namespaces[nsid]
		if ours == nil || theirs == nil || ours.namespaces[nsid].nguid != theirs.nguid || ours.namespaces[nsid].uuid != theirs.uuid {
			return false
		}
	}
	return true
}

// lost has those who use the subsystem go over to another path, or give up after a while.
func (s *subsystem) lost() {
	for _, t := range s.target.fabric.targets {
		for _, c := range t.attached {
			if c.paths[0].trid.NQN != s.nqn || c.alive() {
				continue
			}
			if c.lostAt.IsZero() {
				c.lostAt = time.Now()
			}
			t.after(noticing, c.failOver)
			if c.loss > 0 {
				t.after(c.loss, c.giveUp)
			}
		}
	}
}

// found ends the loss of those who reach the subsystem again.
func (s *subsystem) found() {
	for _, t := range s.target.fabric.targets {
		for _, c := range t.attached {
			if c.paths[0].trid.NQN == s.nqn && c.alive() {
				c.lostAt = time.Time{}
			}
		}
	}
}

// failOver uses the first other path that works.
func (c *controller) failOver() {
	if c.gone || c.alive() {
		return
	}
	for i, other := range c.paths {
		if other.alive() && !other.hangs() {
			c.paths = slices.Concat(c.paths[i:], c.paths[:i])
			c.lostAt = time.Time{}
			other.id = other.subsystem().newController()
			c.rescan()
			return
		}
	}
}

// giveUp detaches the controller if it has not been reached since the loss that this was due for.
func (c *controller) giveUp() {
	if !c.alive() && time.Since(c.lostAt) >= c.loss {
		c.detach()
	}
}
