package spdk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/ports"
)

// DefaultTimeout is how long a target may be silent before a call is given
// up. A detach from a hanging target takes SPDK 10 s by itself.
const DefaultTimeout = 20 * time.Second

// Config says which lvstore of which target a host is.
type Config struct {
	Socket  string        // path of the target's JSON-RPC socket
	Dial    Dialer        // how that is reached; nil: it is a unix socket of this machine
	Lvstore string        // name of the lvstore
	Listen  Listen        // where copies from other targets are received, and where the engine reads and writes lvols; zero: DefaultListen
	Timeout time.Duration // how long the target may be silent; 0: DefaultTimeout
	Logger  *zap.Logger   // nil: nothing is logged
}

// Dialer connects to the JSON-RPC socket of that path.
type Dialer func(ctx context.Context, socket string) (net.Conn, error)

// Host is one lvstore of one SPDK target. It is a ports.Host, a ports.Merger, a
// ports.Opener, a ports.Prover and a ports.Recorder; a target that cannot be one of
// the latter two answers ports.ErrUnsupported.
type Host struct {
	rpc    *client
	can    capabilities
	log    *zap.Logger
	listen Listen

	storeUUID string
	storeName string
	baseBdev  string
	clusters  uint64 // bytes of one
	engineNQN string // whom this process connects as

	locks locks

	mu       sync.Mutex
	writable map[string]made         // by UUID: lvols that this host made and that are no snapshots yet
	recorded map[string]recorded     // by UUID: what snapshots are known to record
	heads    map[string]string       // by UUID: the names of their parents, as seen last
	prepared []prepared              // grafts
	litter   []string                // helpers that could not be removed: UUIDs or aliases, what hangs on another one before it
	copies   map[string]sending      // by source UUID: copies that nobody has seen the end of
	runs     map[ports.Run]*runState // what runs have opened here
	settled  map[string]struct{}     // by NQN: subsystems that are in the middle of no change
	port     uint16                  // the last one listened on
	claimed  bool                    // the last listing had lvols that somebody else has
}

var (
	_ ports.Host        = (*Host)(nil)
	_ ports.Prover      = (*Host)(nil)
	_ ports.KnownProver = (*Host)(nil)
	_ ports.Recorder    = (*Host)(nil)
	_ ports.Merger      = (*Host)(nil)
	_ ports.Counter     = (*Host)(nil)
	_ ports.Gauge       = (*Host)(nil)
	_ ports.Preparer    = (*Host)(nil)
	_ ports.Opener      = (*Host)(nil)

	_ ports.Leaser     = (*Host)(nil)
	_ ports.Collector  = (*Host)(nil)
	_ ports.Ender      = (*Host)(nil)
	_ ports.Identifier = (*Host)(nil)
)

// Open connects to a target, asks what it can do, and finds the lvstore. The
// error of an lvstore that is not there names those that are.
func Open(ctx context.Context, config Config) (*Host, error) {
	if config.Socket == "" {
		return nil, fmt.Errorf("spdk: Socket is missing: expected the path of a target's JSON-RPC socket: %w", ports.ErrInvalid)
	}
	if config.Lvstore == "" {
		return nil, fmt.Errorf("spdk: Lvstore is missing: expected the name of an lvstore of %s: %w", config.Socket, ports.ErrInvalid)
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	if config.Listen == (Listen{}) {
		config.Listen = DefaultListen
	}
	if err := config.Listen.Check(); err != nil {
		return nil, fmt.Errorf("spdk: Listen: %w: %w", err, ports.ErrInvalid)
	}
	h := &Host{
		rpc:      newClient(config.Socket, config.Timeout, config.Dial),
		log:      config.Logger.With(zap.String("target", config.Socket), zap.String("lvstore", config.Lvstore)),
		listen:   config.Listen,
		writable: make(map[string]made),
		recorded: make(map[string]recorded),
		heads:    make(map[string]string),
		copies:   make(map[string]sending),
		runs:     make(map[ports.Run]*runState),
		settled:  make(map[string]struct{}),

		engineNQN: newEngineNQN(),
	}
	if err := h.open(ctx, config.Lvstore); err != nil {
		h.rpc.close()
		return nil, fmt.Errorf("open lvstore %s of target %s: %w", config.Lvstore, config.Socket, err)
	}
	return h, nil
}

func (h *Host) open(ctx context.Context, lvstore string) error {
	var methods []string
	var stores []spdktypes.LvstoreInfo
	list := newCall("rpc_get_methods", nil, &methods)
	look := newCall("bdev_lvol_get_lvstores", nil, &stores)
	h.rpc.do(ctx, list, look)
	if list.err != nil {
		return list.err
	}
	if look.err != nil {
		return look.err
	}
	h.can = newCapabilities(methods)

	var names []string
	for _, s := range stores {
		if s.Name == lvstore {
			h.storeUUID, h.storeName, h.baseBdev, h.clusters = s.UUID, s.Name, s.BaseBdev, s.ClusterSize
			return nil
		}
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return fmt.Errorf("there is no lvstore on it: %w", ports.ErrNotFound)
	}
	return fmt.Errorf("there is none of that name, only %s: %w", strings.Join(names, ", "), ports.ErrNotFound)
}

// isLoaded reports whether the target lists the lvstore. One that has just
// restarted finds no lvol before its disk is there again, and would seem to have
// lost them all. Asked only where something is missing, and of a target that has
// just answered, it needs no context of the caller's.
func (h *Host) isLoaded() bool {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var stores []spdktypes.LvstoreInfo
	err := h.rpc.call(ctx, "bdev_lvol_get_lvstores", spdktypes.BdevLvolGetLvstoreRequest{UUID: h.storeUUID}, &stores)
	return err == nil || !refused(err)
}

// Close ends the connection to the target. Calls under way fail.
func (h *Host) Close() error {
	h.rpc.close()
	return nil
}

// failed says what was tried here. It is on the way out of every method.
func (h *Host) failed(err error, what string, args ...any) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ports.ErrNotFound) && !h.isLoaded() {
		err = as(ports.ErrUnavailable, fmt.Errorf("the lvstore is not loaded: %w", err))
	}
	return fmt.Errorf("%s in lvstore %s: %w", fmt.Sprintf(what, args...), h.storeName, err)
}
