// Package nvmf exports lvols over NVMe-oF for runs of rebuilds, so that another
// target copies into them or this process reads and writes them, and attaches to
// the exports of other targets.
//
// A run has subsystems of its own. Their names tell the run (runNQN), so that the
// exports of a crashed run can be found and ended. A subsystem lets in only the
// hosts that it was made for. Each lvol is a namespace with an ID that is given
// once in the subsystem's life.
//
// Changes of one subsystem follow each other: see changes. A target is never
// attached to itself: it would wait for its own answer for good.
package nvmf
