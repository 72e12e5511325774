// Package memhost has hosts that live in memory and keep every byte: lvols with
// their own clusters, parents and attributes, locks as a real target has them,
// and faults and latency on request ([Host], Inject). Tests and simulations of
// programs that embed the engine run on it.
//
// Hosts behave as measured on SPDK targets. The one difference: a graft that
// would close a cycle panics, where SPDK accepts it and hangs later.
//
// What the engine asks of a host is specified by the interfaces of package
// rebuild, its ports. What users of a volume do (WriteAt, ReadAt, Resize) and what happens
// to a host (Restart, DeleteMerging) are methods, too: these have no context,
// and no fault is injected into them.
package memhost
