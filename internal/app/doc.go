// Package app has the use cases: it rebuilds, audits and repairs replicas. It lists hosts,
// has the domain make a plan, carries the plan out through the ports, and verifies the
// result.
//
// All decisions are the plan's. This package adds what a pure plan cannot have: names for
// in-flight lvols, concurrency, leases and locks, retries, progress, and cleanup after
// failures.
package app
