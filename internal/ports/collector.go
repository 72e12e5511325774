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
	Run  Run    // whose it is; a host may have shortened a long replica name, Release knows it
	What string // in the host's words, such as "subsystem nqn…"
}
