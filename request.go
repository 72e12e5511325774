package rebuild

import (
	"time"

	"github.com/rootgraft/rebuild/internal/app"
)

// Request is what to rebuild, from what, and how. [Engine.Plan], [Engine.Rebuild] and
// [Queue.Submit] take one.
type Request struct {
	// Source is a healthy replica of the volume, Destination the replica to rebuild.
	Source, Destination Site

	// MoreSources are other healthy replicas of the volume. The plan is made from the
	// first healthy one of Source and these. The others serve copies of the snapshots
	// that are proven identical there, and replace a source that fails.
	MoreSources []Site

	// RightSource is the name of the replica that is right where sources differ. The
	// plan is made from that one or the rebuild fails, and data that only other sources
	// have is lost. With "" a rebuild is refused if the source that it would be planned from
	// lacks a user's snapshot that another one has, a part of the size, or all data.
	RightSource string

	// Volume is the volume's name. A Queue runs one rebuild of a volume at a time; with
	// "" requests that share a source are of one volume.
	Volume string

	// Base is the volume's base: a backing image, a snapshot of another volume, or none. The zero Base means that the caller does not
	// know: the heads' records and the lineage of the replicas decide, and the rebuild is
	// refused if they do not tell.
	Base    Base
	Options Options

	// Parallel is how many copies run at once; as many other operations run beside them.
	// 0 is DefaultParallel; with 1, operations run one after the other.
	Parallel int

	// Bandwidth limits the copies, by each of these limits: the rebuild's own, its
	// hosts'. Rebuilds may share them.
	Bandwidth []*Bandwidth

	// Proof compares cluster maps and checksums of all snapshots at the end, where both
	// hosts have them.
	Proof bool

	// Views reads every lvol of both replicas at the end and compares all bytes. Both
	// hosts have to be an Opener.
	Views bool

	// Observer is told how the rebuild goes. It may be nil.
	Observer Observer

	// Journal keeps a record of this rebuild and has those of earlier ones. It may be nil.
	Journal Journal
}

// OnlineRequest is what to rebuild under a live volume. [Engine.PlanOnline] and
// [Engine.RebuildOnline] take one. Source and MoreSources are all whole members of the volume:
// the snapshot is taken of each of them.
type OnlineRequest struct {
	Request

	// Mirror is the volume, and Freezer stops its clients for a moment.
	Mirror  Mirror
	Freezer Freezer

	// FreezeLimit is how long clients are stopped at most; 0: DefaultFreezeLimit.
	FreezeLimit time.Duration
}

func (r OnlineRequest) internal() app.OnlineRequest {
	return app.OnlineRequest{Request: r.Request.internal(), Mirror: r.Mirror, Freezer: r.Freezer, FreezeLimit: r.FreezeLimit}
}

// internal is the request as package app takes it.
func (r Request) internal() app.Request {
	request := app.Request{
		Source: r.Source, Destination: r.Destination, MoreSources: r.MoreSources, RightSource: r.RightSource,
		Volume: r.Volume, Base: r.Base, Options: r.Options, Parallel: r.Parallel,
		Proof: r.Proof, Views: r.Views, Observer: r.Observer, Journal: r.Journal,
	}
	for _, limit := range r.Bandwidth {
		request.Bandwidth = append(request.Bandwidth, limit.internal())
	}
	return request
}
