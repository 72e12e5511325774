package memory

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Host is one store in memory. It implements ports.Host and the optional interfaces; with
// the Upstream flavour, those of ports.Prover and ports.Recorder return ErrUnsupported,
// and Rename does for snapshots. All its methods may be called from several goroutines at once.
type Host struct {
	config Config
	fabric *Fabric
	number int // in the fabric

	sent          atomic.Uint64
	received      atomic.Uint64
	copiedLocally atomic.Uint64

	mu      sync.Mutex // never held together with another host's
	random  *rand.ChaCha8
	lvols   map[string]*lvol // by UUID, without hidden ones
	names   map[string]*lvol // nil: reserved by a running call
	hidden  map[*lvol]struct{}
	created uint64 // lvols so far
	used    uint64 // clusters

	lostExternals bool // a restart has lost external snapshots

	receptions map[uint64]*reception
	openings   map[*opening]struct{}
	opened     uint64 // receptions and ways so far

	ways        map[ports.Address]*way
	connections map[string]*connection // by the ID of the ways

	down     atomic.Bool   // after Kill
	isolated atomic.Bool   // after Isolate
	starts   atomic.Uint64 // so far

	rateChanged chan struct{} // closed and replaced when a limit changes
	orphans     chan struct{} // closed and replaced when an engine ends

	operations map[*operation]struct{}

	faults faults

	leases ports.Leases
}

var (
	_ ports.Host        = (*Host)(nil)
	_ ports.Prover      = (*Host)(nil)
	_ ports.KnownProver = (*Host)(nil)
	_ ports.Recorder    = (*Host)(nil)
	_ ports.Merger      = (*Host)(nil)
	_ ports.Renamer     = (*Host)(nil)
	_ ports.Opener      = (*Host)(nil)

	_ ports.Leaser     = (*Host)(nil)
	_ ports.Collector  = (*Host)(nil)
	_ ports.Ender      = (*Host)(nil)
	_ ports.Gauge      = (*Host)(nil)
	_ ports.Identifier = (*Host)(nil)
)

// Sent is the payload, in bytes, that copies from this host to others wrote.
func (h *Host) Sent() uint64 { return h.sent.Load() }

// Received is the payload, in bytes, that copies from other hosts wrote here.
func (h *Host) Received() uint64 { return h.received.Load() }

// CopiedLocally is the payload, in bytes, that copies within this host wrote.
func (h *Host) CopiedLocally() uint64 { return h.copiedLocally.Load() }

// find finds an lvol by UUID.
func (h *Host) find(uuid string) (*lvol, error) {
	l, err := h.findAny(uuid)
	if err == nil && h.degraded(l) {
		return nil, fmt.Errorf("%s is degraded: %w", l.name, ports.ErrNotFound)
	}
	return l, err
}

// findAny also finds a degraded lvol, which can be listed and deleted.
func (h *Host) findAny(uuid string) (*lvol, error) {
	if l, ok := h.lvols[uuid]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("lvol %q: %w", uuid, ports.ErrNotFound)
}

// findSnapshot finds an lvol that must be read-only.
func (h *Host) findSnapshot(uuid string) (*lvol, error) {
	l, err := h.find(uuid)
	if err == nil && !l.readOnly {
		err = fmt.Errorf("%s is writable: %w", l.name, ports.ErrInvalid)
	}
	return l, err
}

// findWritable finds an lvol that must not be a snapshot.
func (h *Host) findWritable(uuid string) (*lvol, error) {
	l, err := h.find(uuid)
	if err == nil && l.readOnly {
		err = fmt.Errorf("%s is a snapshot: %w", l.name, ports.ErrInvalid)
	}
	return l, err
}

// with calls do with the lvol that find finds, while the host is locked.
func (h *Host) with(what string, find func(uuid string) (*lvol, error), uuid string, do func(*lvol) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := find(uuid)
	if err == nil {
		err = do(l)
	}
	return h.wrap(what, err)
}

// nameOf is the lvol's name, "" if there is none of that UUID.
func (h *Host) nameOf(uuid string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l, ok := h.lvols[uuid]; ok {
		return l.name
	}
	return ""
}

// nameOrUUID names an lvol in errors: by name, or by UUID if it is gone.
func (h *Host) nameOrUUID(uuid string) string {
	switch name := h.nameOf(uuid); {
	case name != "":
		return name
	case uuid == "":
		return "nothing"
	default:
		return uuid
	}
}

// wrap adds the host and the operation to the error.
func (h *Host) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("memory host %s: %s: %w", h.config.Name, what, err)
}

// roundUp rounds a size up to whole clusters, as a real target does.
func (h *Host) roundUp(size uint64) (uint64, error) {
	if size == 0 {
		return 0, fmt.Errorf("size 0: %w", ports.ErrInvalid)
	}
	return (size + h.config.ClusterSize - 1) / h.config.ClusterSize * h.config.ClusterSize, nil
}

func (h *Host) freeClusters() uint64 {
	if h.used >= h.config.TotalClusters {
		return 0
	}
	return h.config.TotalClusters - h.used
}
