// Package memhost has hosts in memory, for tests and simulations of programs that embed
// the engine. They keep every byte: lvols with their own clusters, parents and
// attributes. They lock lvols as a real target does, and inject faults and latency
// (Inject of [Host]).
//
// Fabric.NewMirror makes a volume that is mirrored over heads of such hosts, for rebuilds
// under a live volume. Its Suspend and Resume make a freezer (package freezer).
//
// Hosts behave as measured on SPDK targets, with one difference: a graft that would make
// a cycle panics, whereas SPDK accepts it and hangs later.
//
// The interfaces of package rebuild specify the methods that the engine calls. Other
// methods do what the users of a volume do (WriteAt, ReadAt, Resize), or what happens to
// a host (Restart, DeleteMerging): these take no context, and no fault is injected into
// them.
package memhost
