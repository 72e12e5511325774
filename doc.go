// Package rebuild rebuilds a replica of an SPDK volume, its whole snapshot tree,
// on another host from a healthy replica.
//
// # The rule
//
// A volume has replicas on several hosts. Each replica is a tree of logical volumes
// (lvols): a writable head, its snapshots, and at the root the backing image, which many
// volumes share read-only. A host's list of snapshots does not show that the parent of
// the ancestor, the oldest snapshot, is the image: its parent field is empty. An engine
// that copies that field loses the image, and reads that fall through the rebuilt
// ancestor return zeros (longhorn/longhorn#10909). So this engine decides the ancestor's
// parent on the destination, from what is known of the volume:
//
//	the parent of the oldest rebuilt snapshot is always the volume's base,
//	whatever the source reports
//
// The base ([Base]) is a backing image, or for a linked clone the entry point
// ([EntryPoint]) on a snapshot of another volume, on the same host.
//
// # How a rebuild works
//
// The engine lists both hosts, plans, carries out the plan, and verifies the result.
// The old head is deleted first and the new one is created last: a replica with a head
// is complete, one without is not. On the destination, snapshots that are proven
// identical are kept and all others are deleted. Missing ones are created and copied in
// parallel, and, from the root on, grafted (given their parent) and sealed (turned into
// a snapshot under their final name). The store itself records the progress: after a
// failure, a cancelled context or a crash, run the rebuild again, and it keeps what was
// finished.
//
// With several sources ([Request.MoreSources]) healthy replicas share the copies of
// snapshots that are proven identical on them, and replace each other when one fails:
// a rebuild succeeds as long as one of them is left.
//
// The source is only read, with two exceptions. If its head was written to since the
// last snapshot, the rebuild takes a snapshot of it, since hosts copy only snapshots. A
// host that has checksums may compute and store missing ones, unless
// Options.NoChecksums is set.
//
// # Use
//
//	fabric := memhost.NewFabric() // or hosts of spdkhost.Open, or of an adapter of your own
//	source, destination := fabric.NewHost(memhost.Config{Name: "disk-1"}), fabric.NewHost(memhost.Config{Name: "disk-2"})
//	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
//	defer cancel() // at any time: finished snapshots stay, nothing is left in flight
//	request := rebuild.Request{
//		Source:      rebuild.Site{Host: source, Replica: "vol-1-r-0a1b2c3d"},
//		Destination: rebuild.Site{Host: destination, Replica: "vol-1-r-4e5f6a7b"},
//		Base:        rebuild.ImageBase("base"), // or CloneBase, NoBase; nothing if the heads' records tell
//		Observer:    rebuild.ObserverFunc(func(e rebuild.Event) { fmt.Println(e.Kind, e.BytesDone, e.BytesTotal) }),
//	}
//	engine := rebuild.New()
//	plan, err := engine.Plan(ctx, request)
//	fmt.Println(len(plan.Steps), err)
//	report, err := engine.Rebuild(ctx, request)
//	fmt.Println(report.Outcome, report.CopiedBytes, err)
//
// [OutcomeRefused] means that nothing was changed, and the error, an [ErrRefused], says
// why the request is not safe. After [OutcomeFailed], what was finished stays and the
// next rebuild continues from there. The [Report] is valid in any case.
//
// A [Queue] runs many rebuilds within limits per host. [Bandwidth] limits the rate of
// copies. [WithLogger] and [WithSlog] make the engine log.
//
// # Duties of the caller
//
//   - Have one [Engine] per process: its rebuilds know of each other and share hosts,
//     images and sources. Do not run two processes on one replica: a target has no
//     lock to offer, and one of them fails.
//   - Nobody may write to the source's head while a rebuild runs, or use the
//     destination replica before it is complete. A replica that its host exports,
//     mirrors or has claimed ([Lvol].UsedBy) is refused before it is changed, unless
//     [Site].AllowInUse is set.
//   - Replicas and snapshots must have the names on the store that Longhorn gives
//     them: [SnapshotLvolName], [InFlightLvolName], [ImageLvolName].
//   - Name the volume's base in the request, unless the record of a head or the
//     lineage of a replica tells it. An ancestor without a parent does not tell it: a
//     lost base looks the same.
//
// # Writing an adapter
//
// An adapter is a type that implements [Host]. Read in this order:
//
//  1. [Host], and the rules for all its methods
//  2. [Lvol] and [Listing], the state of a host; [Looker], which reads it
//  3. [Store], [SealRecord] and [Snapshotter], the verbs: create, graft, seal,
//     clone, delete, snapshot
//  4. [Copier], which copies own clusters from host to host: the destination receives
//     from the source's peer, the source copies to the address that Receive returned,
//     the destination withdraws
//  5. [ErrNotFound] and the other kinds of errors; [Retryable]
//  6. [Prover] and [Recorder], if the store can implement them
//
// Then pass package storetest, the contract as tests. The module in examples/embed
// does all of this in a few short files.
//
// A volume that clients use while a replica is rebuilt is a [Mirror] with a [Freezer]: those of
// spdkhost and freezer, or a caller's own, as in the example of [Engine.RebuildOnline].
//
// A program with an adapter of its own compiles no other: spdkhost (SPDK targets) and
// memhost (hosts in memory, for tests) are packages of their own. journalfile keeps
// the [Journal] of rebuilds in a file, imagefile reads disk images for
// [Engine.ImportImage], and rebuildfx provides the engine to programs built with fx.
package rebuild

//go:generate go run ./internal/apigen
