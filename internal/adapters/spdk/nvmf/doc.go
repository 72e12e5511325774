// Package nvmf is the life of NVMe-oF exports: what runs of rebuilds open on a
// target so that another target copies into an lvol, or this process reads and
// writes it, and what they attach to.
//
// A run has subsystems of its own, named by the run (runNQN), so that everything
// that a crashed run has left is found by its name and ended. A subsystem lets in
// only the hosts that it was made for. An lvol is a namespace of one, under an ID
// that is given once in the subsystem's life.
//
// SPDK must not change a subsystem twice at once: see changes. A target must not
// be attached to itself: it would wait for its own answer for good.
package nvmf
