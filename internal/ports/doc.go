// Package ports says what the engine asks of a host, in the words of the
// domain. A host has one store of lvols. An adapter implements Host over it;
// storetest (in this package's porttest for our own) is the contract as
// tests, and every adapter passes it.
//
// Rules that hold for every method:
//
//   - An lvol that was created or listed is named by its UUID from then on.
//   - Every method takes a context, and returns soon after it ends, with an
//     ErrUnavailable that wraps the context's error, too. What a cancelled call
//     leaves is whole: a name is never given to half a thing.
//   - Errors wrap exactly one of the kinds (ErrNotFound and the others) beside
//     the adapter's own error, and say what was tried on what.
//   - Sizes are in bytes and whole clusters. The engine asks for no others; what
//     a store does with them is its own.
//   - Methods may be called from several goroutines at once. A store that
//     lets an lvol take part in one operation at a time may answer ErrBusy;
//     the engine waits and asks again.
//   - Helpers that an adapter makes for itself on the store bear in-flight
//     names of the replica (domain.InFlightLvolName) and are gone when the
//     call returns, or, of PrepareGraft, with the graft. After a crash they may
//     stay: the next run deletes them.
package ports
