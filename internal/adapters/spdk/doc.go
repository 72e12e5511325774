// Package spdk is a host over one lvstore of one SPDK target. It works with the
// Longhorn branch, which has maps, checksums and attributes, and with upstream
// SPDK, which has none of them; the target's list of methods tells which one it
// is. Package rpc speaks with the target.
//
// Three things of a target shape this package:
//
//   - It polls its sockets every 4 ms, so independent calls share a write
//     (rpc.Client.Do). Dependent ones must not: calls written together begin
//     together.
//   - Nothing queues on an lvol: a second operation fails at once with "Device
//     or resource busy". So verbs that use one parent follow each other here
//     (lvols.lock), and a call to an lvol that is busy for another reason is
//     repeated for a while (rpc.WhileBusy).
//   - A delete at the wrong moment does harm: it merges a snapshot into its
//     only clone, and hides a busy lvol until a restart, although it is
//     refused. So every delete looks first.
//
// After a restart a snapshot without clones is "asleep": the target does not
// list it as a snapshot, and accepts it neither as a parent nor for checksums,
// since it knows snapshots by their clones (bs_load reads them from the clones'
// metadata). A clone that is made and deleted wakes it.
package spdk
