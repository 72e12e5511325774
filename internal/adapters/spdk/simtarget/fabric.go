package simtarget

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget/nvmeserver"
)

// Fabric is what connects targets: those of one fabric reach each other's
// listeners.
type Fabric struct {
	mu        sync.Mutex           // the world's: every target's state is guarded by it
	listeners map[string]*listener // by address and port
	targets   []*Target

	// takenAway are lvstores whose disks are in no target, by UUID; without
	// Config.State.
	takenAway map[string]*lvstore
}

// NewFabric makes a fabric without targets.
func NewFabric() *Fabric {
	return &Fabric{listeners: make(map[string]*listener), takenAway: make(map[string]*lvstore)}
}

// longestPath is how many bytes sockaddr_un has for one, without its zero.
const longestPath = 107

// Start runs a target until it is closed or killed. It answers when Start
// returns. The error names the socket.
func (f *Fabric) Start(config Config) (*Target, error) {
	if config.Socket == "" {
		return nil, errors.New("simulated target: Socket is missing: expected the path of its JSON-RPC socket")
	}
	if len(config.Socket) > longestPath {
		return nil, fmt.Errorf("simulated target: Socket %s has %d bytes: expected at most %d, the limit of a socket's path",
			config.Socket, len(config.Socket), longestPath)
	}
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	if config.State != "" {
		if err := os.MkdirAll(config.State, 0o700); err != nil {
			return nil, fmt.Errorf("simulated target %s: %w", config.Socket, err)
		}
	}
	socket, err := f.listen(config)
	if err != nil {
		return nil, fmt.Errorf("simulated target %s: %w", config.Socket, err)
	}
	t := &Target{
		config:      config,
		fabric:      f,
		log:         config.Logger.With(zap.String("target", filepath.Base(config.Socket))),
		socket:      socket,
		connections: make(map[*connection]struct{}),
		asked:       make(map[string]int),
		ask:         config.Inject,
		byName:      make(map[string]*bdev),
		subsystems:  make(map[string]*subsystem),
		controllers: make(map[string]*controller),
		copies:      make(map[uint32]*shallowCopy),
		hostNQN:     uuidNQN + newUUID(),
		dead:        make(chan struct{}),
	}
	t.server = nvmeserver.NewServer(shown{t})
	t.addDiscovery()
	f.mu.Lock()
	f.targets = append(f.targets, t)
	f.mu.Unlock()
	t.serving.Go(t.accept)
	if config.Poll > 0 {
		t.serving.Go(t.poll)
	}
	return t, nil
}

// listen makes the target's JSON-RPC socket.
func (f *Fabric) listen(config Config) (net.Listener, error) {
	if config.Within {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.within(config.Socket) != nil {
			return nil, errors.New("somebody listens on it already")
		}
		return newPipes(), nil
	}
	if err := removeDeadSocket(config.Socket); err != nil {
		return nil, err
	}
	return net.Listen("unix", config.Socket)
}

// removeDeadSocket makes room for a new socket: SPDK replaces one that nobody
// listens on (spdk_jsonrpc_server_listen after rpc_listen's lock).
func removeDeadSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return errors.New("there is a file of that name that is no socket")
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return errors.New("somebody listens on it already")
	}
	return os.Remove(path)
}
