// Package app rebuilds, audits and repairs replicas: it lists hosts, has the domain plan,
// carries the plan out through the ports, and looks again.
//
// It decides nothing that the plan has not decided. It adds what a pure plan cannot have:
// drawn names for lvols in flight, concurrency, locks between the rebuilds of a process,
// retries, progress, and cleanup after failures.
package app
