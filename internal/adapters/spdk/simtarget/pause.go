package simtarget

import "errors"

// everyNamespace is SPDK_NVME_GLOBAL_NS_TAG.
const everyNamespace = 1<<32 - 1

// change is one of a subsystem, which is paused for it.
type change struct {
	nsid   uint32 // of the namespace whose writes are waited for
	finish func()
}

// pause does a change when the writes into the namespace are over. Changes that come
// meanwhile find the subsystem paused, and are waited for by nobody
// (nvmf_subsystem_do_state_change).
func (s *subsystem) pause(nsid uint32, finish func()) {
	s.changes = append(s.changes, change{nsid, finish})
	if len(s.changes) == 1 {
		s.target.later(s.goOn)
	}
}

func (s *subsystem) goOn() {
	if nsid := s.changes[0].nsid; s.isWrittenTo(nsid) || s.isBusy(nsid) {
		s.target.after(lookingAgain, s.goOn)
		return
	}
	all := s.changes
	s.changes = nil
	for _, one := range all {
		if !s.target.ended && !s.target.hangs {
			one.finish()
		}
	}
}

// isPausedFor reports whether nobody can begin to write into the namespace.
func (s *subsystem) isPausedFor(nsid uint32) bool {
	return len(s.changes) > 0 && (s.changes[0].nsid == nsid || s.changes[0].nsid == everyNamespace)
}

// isBusy reports whether I/O of clients on the namespace has begun and waits.
func (s *subsystem) isBusy(nsid uint32) bool {
	ns := s.namespaces[nsid]
	return ns != nil && ns.bdev.waiting > 0
}

// isWrittenTo reports whether a copy is in the middle of a write into the namespace.
func (s *subsystem) isWrittenTo(nsid uint32) bool {
	for _, t := range s.target.fabric.targets {
		for _, c := range t.copies {
			if c.writing && !c.over && c.into.nvme != nil && (c.into.nsid == nsid || nsid == everyNamespace) && c.into.nvme.subsystem() == s {
				return true
			}
		}
	}
	return false
}

// isWrittenTo reports whether a copy is in the middle of a write into a namespace of
// the bdev.
func (t *Target) isWrittenTo(b *bdev) bool {
	for _, s := range t.inOrder {
		for nsid, ns := range s.namespaces {
			if ns.bdev == b && s.isWrittenTo(nsid) {
				return true
			}
		}
	}
	return false
}

// What a real target's memory is like after these, and how long it lives on, differs.
var (
	errWrittenTo = errors.New("a namespace was removed while it was written to: two changes of its subsystem at once")
	errDeleted   = errors.New("a subsystem was deleted in the middle of a change")
)
