// Package rebuild rebuilds a replica of an SPDK volume, its whole snapshot
// tree, on another host from a healthy replica.
//
// # The rule
//
// A volume has replicas on several hosts. Each is a tree of logical volumes
// (lvols): a writable head, snapshots under it, and at the root, shared
// read-only by many volumes, the backing image. A host's list of snapshots
// cannot say that the ancestor, the oldest snapshot, hangs on an image: its
// parent field is empty. An engine that copies that field loses the image, and
// reads that fall through the rebuilt ancestor return zeros
// (longhorn/longhorn#10909). So here the ancestor's parent is decided on the
// destination from what is known of the volume itself:
//
//	the oldest rebuilt snapshot always has the volume's backing image as its
//	parent, whatever the source says
//
// # How a rebuild goes
//
// The engine looks at both hosts, plans, carries the plan out, and looks again.
// The old head goes first and the new one comes last: a replica with a head is
// whole, one without is not. What is proven identical stays, what is not goes;
// missing snapshots are created, copied in parallel and, from the root on,
// grafted (given their parent) and sealed (made a snapshot under the final
// name). The store itself is the journal: after a failure, a cancelled context
// or a crash, rebuild again; what was finished is kept.
//
// With several sources ([Request.MoreSources]) healthy replicas share the copies
// of what is proven to be the same on them, and stand in for each other: a
// rebuild outlives each of them, as long as one is left.
//
// The source is only read, but for two things: a head that was written to since
// its last snapshot is snapshotted, since hosts copy from snapshots only; and hosts
// that tell checksums may store those that they compute, unless
// Options.NoChecksums says that none are computed.
//
// # Use
//
//	fabric := memhost.NewFabric() // or hosts of spdkhost.Open, or of an adapter of your own
//	source, destination := fabric.NewHost(memhost.Config{Name: "disk-1"}), fabric.NewHost(memhost.Config{Name: "disk-2"})
//	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
//	defer cancel() // at any time: what is finished stays, nothing is left half-done
//	request := rebuild.Request{
//		Source:      rebuild.Site{Host: source, Replica: "vol-1-r-0a1b2c3d"},
//		Destination: rebuild.Site{Host: destination, Replica: "vol-1-r-4e5f6a7b"},
//		Image:       rebuild.ImageNamed("base"), // rebuild.NoImage(), or nothing if the heads' records tell
//		Observer:    rebuild.ObserverFunc(func(e rebuild.Event) { fmt.Println(e.Kind, e.BytesDone, e.BytesTotal) }),
//	}
//	engine := rebuild.New()
//	plan, err := engine.Plan(ctx, request)
//	fmt.Println(len(plan.Steps), err)
//	report, err := engine.Rebuild(ctx, request)
//	fmt.Println(report.Outcome, report.CopiedBytes, err)
//
// Errors are read with errors.Is: [ErrRefused] says that nothing was changed
// and why it cannot be done safely; after any other, what was finished stays
// and the next rebuild goes on from there. The [Report] is there in any case.
//
// # Duties of the caller
//
//   - One engine a process: its rebuilds know of each other and share hosts,
//     images and sources. Two processes on one replica at once are their
//     callers' mistake: a target has no lock to offer, and one of them fails.
//   - Nobody writes to the source's head while a rebuild runs, and nobody uses
//     the destination replica before it is complete. A replica whose host
//     exports it, mirrors it or has claimed it ([Lvol].UsedBy) is refused before
//     it is changed, unless [Site].AllowInUse says otherwise.
//   - Replicas and snapshots have on the store the names that Longhorn gives
//     them: [SnapshotLvolName], [InFlightLvolName], [ImageLvolName].
//   - The request says which backing image the volume has, unless the record
//     of a head or the lineage of a replica tells. An ancestor without a parent
//     does not: losing the image looks the same.
//
// # Writing an adapter
//
// An adapter is a type that implements [Host]. Read in this order:
//
//  1. [Host], and the rules that hold for all its methods
//  2. [Lvol] and [Listing], what a host tells; [Looker], how it is asked
//  3. [Store], [SealRecord] and [Snapshotter], the verbs: create, graft, seal,
//     clone, delete, snapshot
//  4. [Copier], which moves own clusters from host to host: the destination
//     receives from the peer that the source says it is, the source copies to
//     the address that this gave, the destination withdraws
//  5. [ErrNotFound] and the other kinds of errors; [Retryable]
//  6. [Prover] and [Recorder], if the store can tell what they ask
//
// Then pass package storetest, which is the contract as tests. The module
// under examples/embed does all of this in a few short files.
//
// Who embeds the engine with an adapter of their own compiles no other: ours
// are in packages of their own, spdkhost and memhost. Package rebuildfx has a
// module for programs that are wired by fx.
package rebuild

//go:generate go run ./internal/apigen
