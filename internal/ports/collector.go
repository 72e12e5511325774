package ports

import "context"

// Collector is implemented by hosts on which a crash can leave more of a run
// than lvols: exports, connections. Release, called for a new run of the
// replica, removes them.
type Collector interface {
	// Opened lists what runs of any replica have opened on this host.
	Opened(ctx context.Context) ([]Opened, error)
}

// Opened is one thing that a run has opened.
type Opened struct {
	Run  Run    // whose it is; a host may have shortened replica and store, Release and End know them
	What string // in the host's words, such as "subsystem nqn…"
}

// Ender is implemented by hosts that can end what one run has opened and leave
// other runs alone, those of the same replica, too.
type Ender interface {
	// End ends whatever the run has opened on this host, in this process or in
	// one that has crashed, and forgets the run. Nothing to end is no error.
	End(ctx context.Context, run Run) error
}
