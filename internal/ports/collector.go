package ports

import "context"

// Collector is implemented by hosts on which a crash of a run can leave more than
// lvols: exports, connections. Release, called for a new run of the replica, removes
// them.
type Collector interface {
	// Opened lists the resources that runs of all replicas have opened on this host.
	Opened(ctx context.Context) ([]Opened, error)
}

// Opened is one resource that a run has opened.
type Opened struct {
	Run  Run    // its owner; a host may shorten replica and store, Release and End accept that
	What string // describes the resource, such as "subsystem nqn…"
}

// Ender is implemented by hosts that can close the resources of one run and leave
// other runs alone, including those of the same replica.
type Ender interface {
	// End closes all resources that the run has opened on this host, in this process
	// or in one that has crashed, and forgets the run. No error if there are none.
	End(ctx context.Context, run Run) error
}
