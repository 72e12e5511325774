package memory

import (
	"cmp"
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// Fabric connects hosts: those of one fabric can send to each other.
type Fabric struct {
	mu    sync.Mutex // may be locked while a host's is
	hosts []*Host    // by number

	mirrors int // so far

	ways table.Map[ports.Address, *way] // open ones
}

// NewFabric creates a fabric without hosts.
func NewFabric() *Fabric { return &Fabric{} }

// Flavour is the kind of target that a host simulates.
type Flavour int

const (
	// Fork is Longhorn's SPDK branch: it has maps, checksums, attributes and records.
	Fork Flavour = iota
	// Upstream is plain SPDK: it has none of these, and shorter names.
	Upstream
)

// String is "fork" or "upstream".
func (f Flavour) String() string {
	if f == Upstream {
		return "upstream"
	}
	return "fork"
}

// nameLimit is the maximum length of a name in bytes, as measured.
func (f Flavour) nameLimit() int {
	if f == Upstream {
		return 63
	}
	return 255
}

const (
	defaultClusterSize   = 1 << 20
	defaultBlockSize     = 4096
	defaultTotalClusters = 1 << 40
)

// Config configures a host. The zero Config is a fork with plenty of space.
type Config struct {
	Name          string // of the store
	UUID          string // of the store; "": drawn
	ClusterSize   uint64 // bytes; 0: 1 MiB
	BlockSize     uint64 // bytes; 0: 4096
	TotalClusters uint64 // 0: plenty
	NoClusters    bool   // the store has no clusters: nothing can be written
	Flavour       Flavour
	NameLimit     int    // bytes; 0: that of the flavour
	Seed          uint64 // UUIDs are drawn from it and Name; 0: they differ each time
}

// NewHost creates an empty host that can send to and receive from the other hosts of the
// fabric.
func (f *Fabric) NewHost(c Config) *Host {
	c.ClusterSize = cmp.Or(c.ClusterSize, defaultClusterSize)
	c.BlockSize = cmp.Or(c.BlockSize, defaultBlockSize)
	c.NameLimit = cmp.Or(c.NameLimit, c.Flavour.nameLimit())
	if c.TotalClusters == 0 && !c.NoClusters {
		c.TotalClusters = defaultTotalClusters
	}
	h := &Host{
		config:     c,
		fabric:     f,
		random:     newRandom(c.Seed, c.Name),
		lvols:      make(map[string]*lvol),
		names:      make(map[string]*lvol),
		hidden:     make(map[*lvol]struct{}),
		receptions: make(map[uint64]*reception),
		openings:   make(map[*opening]struct{}),
		operations: make(map[*operation]struct{}),
		ways:       make(map[ports.Address]*way),

		connections: make(map[string]*connection),
		rateChanged: make(chan struct{}),
		orphans:     make(chan struct{}),
	}
	if c.UUID == "" {
		h.config.UUID = h.drawUUID()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	h.number = len(f.hosts)
	f.hosts = append(f.hosts, h)
	return h
}

// addressFormat: the number of the host and that of a reception on it.
const addressFormat = "memory:%d:%d"

// receiver finds the host that an address leads to.
func (f *Fabric) receiver(to ports.Address) (*Host, uint64, error) {
	var number int
	var id uint64
	if _, err := fmt.Sscanf(string(to), addressFormat, &number, &id); err != nil {
		return nil, 0, fmt.Errorf("address %q: %w", to, ports.ErrInvalid)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if number < 0 || number >= len(f.hosts) {
		return nil, 0, fmt.Errorf("address %s leads to no host: %w", to, ports.ErrUnavailable)
	}
	return f.hosts[number], id, nil
}

// newRandom uses the name, too, so that hosts with the same seed draw different UUIDs.
func newRandom(seed uint64, name string) *rand.ChaCha8 {
	var key [32]byte
	if seed == 0 {
		crand.Read(key[:])
		return rand.NewChaCha8(key)
	}
	sum := fnv.New64a()
	sum.Write([]byte(name))
	binary.LittleEndian.PutUint64(key[:8], seed)
	binary.LittleEndian.PutUint64(key[8:16], sum.Sum64())
	return rand.NewChaCha8(key)
}

// drawUUID draws a version 4 UUID.
func (h *Host) drawUUID() string {
	var b [16]byte
	h.random.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Shown finds the head that is shown at a way, for mirrors that are not Mirror. ok is false if
// nothing is shown there now.
func (f *Fabric) Shown(at ports.Address) (head Head, ok bool) {
	w := f.ways.Get(at)
	if w == nil {
		return Head{}, false
	}
	end := w.end()
	if end == nil {
		return Head{}, false
	}
	return Head{Host: w.host, UUID: end.uuid}, true
}
