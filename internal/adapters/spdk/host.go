package spdk

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// DefaultTimeout is how long a target may be silent before a call is given
// up. A detach from a hanging target takes SPDK 10 s by itself.
const DefaultTimeout = 20 * time.Second

// Config says which lvstore of which target a host is.
type Config struct {
	Socket   string             // path of the target's JSON-RPC socket
	Dial     Dialer             // connects to it; nil: it is a unix socket of this machine
	Lvstore  string             // name of the lvstore
	Listen   nvmf.Listen        // where copies from other targets are received, and where the engine reads and writes lvols; zero: DefaultListen
	Ports    nvmf.PortAllocator // chooses the ports of that address; nil: one of Listen for all
	HostNQNs nvmf.HostNQNs      // by which targets and the engine connect; zero: their defaults
	Timeout  time.Duration      // how long the target may be silent; 0: DefaultTimeout
	Logger   *zap.Logger        // nil: nothing is logged
}

// Dialer connects to the JSON-RPC socket of that path.
type Dialer func(ctx context.Context, socket string) (net.Conn, error)

// Host is one lvstore of one SPDK target. Upstream SPDK neither proves nor records:
// there, Prove, ProveKnown and Record return ports.ErrUnsupported, and so does a Rename of a
// snapshot.
type Host struct {
	store   *rpc.Lvstore
	exports *nvmf.Exports

	lvols    *lvols
	view     *view
	copies   copies
	drafts   table.Map[string, draft]
	prepared preparedGrafts
}

var (
	_ ports.Host        = (*Host)(nil)
	_ ports.Prover      = (*Host)(nil)
	_ ports.KnownProver = (*Host)(nil)
	_ ports.Recorder    = (*Host)(nil)
	_ ports.Merger      = (*Host)(nil)
	_ ports.Renamer     = (*Host)(nil)
	_ ports.Counter     = (*Host)(nil)
	_ ports.Gauge       = (*Host)(nil)
	_ ports.Preparer    = (*Host)(nil)
	_ ports.Opener      = (*Host)(nil)

	_ ports.Limiter      = (*Host)(nil)
	_ ports.LeastLimiter = (*Host)(nil)
	_ ports.Leaser       = (*Host)(nil)
	_ ports.Collector    = (*Host)(nil)
	_ ports.Ender        = (*Host)(nil)
	_ ports.Identifier   = (*Host)(nil)
	_ ports.Live         = (*Host)(nil)
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
	config.Timeout = cmp.Or(config.Timeout, DefaultTimeout)
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	exports, err := nvmf.Config{Listen: config.Listen, Ports: config.Ports, HostNQNs: config.HostNQNs}.WithDefaults()
	if err != nil {
		return nil, fmt.Errorf("spdk: %w", err)
	}
	client := rpc.NewClient(config.Socket, config.Timeout, config.Dial)
	h, err := find(ctx, client, config, exports)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("open lvstore %s of target %s: %w", config.Lvstore, config.Socket, err)
	}
	return h, nil
}

func find(ctx context.Context, client *rpc.Client, config Config, listen nvmf.Config) (*Host, error) {
	store, err := rpc.OpenLvstore(ctx, client, config.Lvstore)
	if err != nil {
		return nil, err
	}
	log := config.Logger.With(zap.String("target", config.Socket), zap.String("lvstore", config.Lvstore))
	exports, err := nvmf.New(store, listen, log)
	if err != nil {
		return nil, err
	}
	return &Host{
		store: store, exports: exports,
		lvols:  &lvols{Lvstore: store, log: log},
		view:   &view{store: store, exports: exports},
		copies: copies{client: client},
	}, nil
}

// Close ends the connection to the target. Calls under way fail.
func (h *Host) Close() error {
	h.store.Client.Close()
	return nil
}
