// Package ports defines the interfaces between the engine and a host, in terms of the
// domain. A host has one store of lvols. An adapter implements Host for it. storetest
// (porttest for our own adapters) is the contract as tests; every adapter passes it.
//
// Rules that hold for every method:
//
//   - An lvol that was created or listed is identified by its UUID.
//   - Every method takes a context. It returns soon after the context ends, with an
//     ErrUnavailable that also wraps the context's error. A cancelled call never
//     leaves an incomplete lvol under a final name.
//   - Errors wrap exactly one of the kinds (ErrNotFound and the others) besides the
//     adapter's own error, and name the operation and the lvol.
//   - Sizes are in bytes and whole clusters. The engine asks for no others.
//   - Methods may be called from several goroutines at once. A store that
//     lets an lvol take part in one operation at a time may answer ErrBusy;
//     the engine waits and asks again.
//   - Helper lvols that an adapter creates have in-flight names of the replica
//     (domain.InFlightLvolName) and are deleted when the call returns or, for
//     PrepareGraft, with the graft. After a crash they may remain: the next run
//     deletes them.
package ports
