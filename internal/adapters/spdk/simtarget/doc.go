// Package simtarget is simulated SPDK targets: they answer JSON-RPC on a unix
// socket as spdk_tgt does, with its codes, messages, locks and restarts, in two
// flavours: the Longhorn branch and upstream SPDK.
//
// The clusters, parents and locks of an lvstore are those of a host of the memory
// adapter. What a target adds is here: bdevs and who claims them, names and
// aliases, what it forgets in a restart, and the words in which it refuses.
//
// The targets of one Fabric see each other's NVMe-oF listeners, by address and
// port. A listener takes the port for real, so that it collides with other
// processes as it should, and serves its subsystems there over NVMe/TCP to hosts
// that are no target of the fabric.
//
// A fabric is one world with one lock. A target takes up the requests that it
// finds on its sockets one after the other, and begins each; what takes a target
// time (an lvol's metadata, a namespace) is finished after all of them have
// begun. So calls that are written together begin together, and collide as they
// do on a real target. Copies go on by themselves, cluster by cluster.
//
// I/O is done at once, under that lock, or it waits (errAgain): for a target that is gone or hangs, for
// a listener that is inaccessible, or for a bdev that is quiesced. Whoever began it, a client or a copy,
// then tries again.
package simtarget
