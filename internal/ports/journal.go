package ports

import (
	"context"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Journal keeps what rebuilds did across restarts of the process that ran
// them: for people, what was copied and why, and as proof of what was sealed
// from what, where hosts tell no checksums (domain.Sealing). Nothing depends on
// it: a lost entry costs a copy, never a byte.
type Journal interface {
	// Append adds an entry, which survives the process once it returns.
	// Appends come from several goroutines at once.
	Append(ctx context.Context, e Entry) error

	// Sealings are what is known of the replica's snapshots on the lvstore with
	// that UUID: of each name the newest copy, from each source of which it is
	// known to be one.
	Sealings(ctx context.Context, store, replica string) ([]domain.Sealing, error)
}

// Entry is one thing that happened in a run. Which of the last three is there
// says what.
type Entry struct {
	At      time.Time // UTC
	Run     Run
	Store   string // UUID of the destination's lvstore
	Lvstore string // its name

	Began  *Began
	Sealed *Sealed
	Ended  *Ended
}

// Began is the beginning of a run.
type Began struct {
	Sources []string // "REPLICA on lvstore NAME"
}

// Sealed is a snapshot that got its final name.
type Sealed struct {
	Snapshot string // its name, without the replica's
	Sealing  domain.Sealing
}

// OutcomeKilled is the end of a run whose process ended before it did. Whoever
// opens the journal next says so; nothing else of that end is known.
const OutcomeKilled = "killed"

// Ended is the end of a run.
type Ended struct {
	Outcome     string // complete, refused or failed, or OutcomeKilled
	Error       string // "" if it is complete or was killed
	Image       string // the volume's backing image: its name, domain.RecordNoImage, or "" for not known
	Full        bool   // nothing was kept on purpose
	Steps       []Decided
	Warnings    []string
	Deleted     []domain.Deletion // of the destination
	CopiedBytes uint64            // from host to host
	Duration    time.Duration
	Served      []Served // by each source, where there were several
}

// Served is what one of several sources was good for.
type Served struct {
	Replica     string
	Lvstore     string   // "" where its host was never seen
	State       string   // primary, secondary, passed-over or lost
	Reason      string   // passed-over, lost: why
	Snapshots   []string // whose copies it has served; "" is the backing image
	CopiedBytes uint64
}

// Decided is a step of the run's last plan.
type Decided struct {
	Action   domain.Action
	Snapshot string
	Parent   string // domain.Parent as a string
	Reason   string
	Clusters uint64 // how many it copies
}
