// Package app rebuilds, audits and repairs replicas: it looks at hosts, has the domain plan,
// carries the plan out through the ports, and looks again.
//
// It decides nothing that the plan has not decided. What it adds is what a
// pure plan cannot have: names drawn for lvols in flight, several hands, locks
// between the rebuilds of one process, patience with what is busy, progress,
// and the clean-up after a failure.
package app
