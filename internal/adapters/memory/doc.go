// Package memory is a host in memory that keeps every byte: lvols with their own
// clusters, parents and attributes, locks as on a real target, and faults and latency on
// request. Simulations and tests run on it.
//
// It behaves as measured on SPDK targets, with one difference: a graft that would close a
// cycle panics, where SPDK accepts it and hangs later. No caller may ask for one.
//
// The methods of the ports are in files named after the verbs. Host has other methods for
// the actions of a volume's users (write, read, resize) and for events on a host (restart,
// a delete that merges): they have no context, get no injected faults and are not counted.
package memory
