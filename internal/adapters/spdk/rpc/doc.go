// Package rpc is the JSON-RPC client of an SPDK target, with one function for each
// method that the adapter calls, whose parameters and result are typed.
//
// A function such as DeleteLvol returns a call that has not been sent yet.
// Call.Do sends one call. Client.Do sends several at once: a target polls its
// sockets every 4 ms, so a call costs about as much as a hundred written
// together. Independent calls share a write; dependent ones must not, since
// calls written together begin together.
//
// Errors have the kinds of package ports. A *Refusal is a target's no; any
// other error means that the outcome is unknown (OutcomeUnknown).
package rpc
