// Package memory is a host that lives in memory and keeps every byte: lvols
// with their own clusters, parents and attributes, locks as a real target has
// them, and faults and latency on request. Simulations and tests run on it.
//
// It behaves as measured on SPDK targets. The one difference: a graft that
// would close a cycle panics, where SPDK accepts it and hangs later. Nobody
// may ever ask for one.
//
// What a port can do stands in the files named after its verbs. What users of
// a volume do (write, read, resize) and what happens to a host (restart, a
// snapshot deleted so that it merges) are methods of Host, too, but no port's:
// they have no context, never fail by injection and are not counted.
package memory
