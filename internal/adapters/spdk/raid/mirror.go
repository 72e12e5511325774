package raid

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/keylock"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/randid"
)

// MirrorConfig says which RAID of which target a mirror is.
type MirrorConfig struct {
	Socket  string                                                     // path of the target's JSON-RPC socket
	Dial    func(ctx context.Context, socket string) (net.Conn, error) // connects to it; nil: it is a unix socket of this machine
	RAID    string                                                     // name of the RAID1 bdev
	New     bool                                                       // it need not exist yet: Make makes it
	HostNQN string                                                     // by which the target connects to new members; "": nqn.2014-08.org.nvmexpress:uuid:<UUID of the RAID>; with another one, exports of heads that the RAID has dropped are others' use
	Timeout time.Duration                                              // how long the target may be silent; 0: 20 s
	Logger  *zap.Logger                                                // nil: nothing is logged
}

const defaultTimeout = 20 * time.Second

// Mirror is a RAID1 bdev of an SPDK target. Its members are known by the UUIDs of their
// bdevs. That of an lvol on the same target is the lvol's UUID. That of an lvol on another
// target is the NGUID that it is exported with; whoever exports heads for the RAID must
// give the lvol's UUID, as SPDK does by default.
//
// On a target without bdev_raid_grow_base_bdev, such as upstream SPDK, Join deletes the
// RAID and makes it again, in the freeze. If the process ends between the two, the volume
// has no RAID until OpenMirror is called for it: then it is made again as it was. Nobody
// but NVMe-oF subsystems of the target may use the RAID there, and it must not have a
// superblock.
type Mirror struct {
	rpc   *rpc.Client
	can   rpc.Capabilities
	log   *zap.Logger
	name  string // of the RAID
	uuid  string
	nqn   string // of the target as a host
	locks keylock.Locks
	heads heads
	seen  seen

	changes   atomic.Uint64              // of the members by this process, that are over
	suspended atomic.Pointer[[]listener] // nil: not by this process
}

var _ ports.Mirror = (*Mirror)(nil)

// OpenMirror connects to a target and finds the RAID. The error of one that is not there
// names those that are, unless it may be New. A RAID that a process has deleted to make it again,
// and did not, is made again.
func OpenMirror(ctx context.Context, config MirrorConfig) (*Mirror, error) {
	if config.Socket == "" {
		return nil, fmt.Errorf("spdk: Socket is missing: expected the path of a target's JSON-RPC socket: %w", ports.ErrInvalid)
	}
	if config.RAID == "" {
		return nil, fmt.Errorf("spdk: RAID is missing: expected the name of a RAID1 of %s: %w", config.Socket, ports.ErrInvalid)
	}
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	m := &Mirror{
		rpc: rpc.NewClient(config.Socket, config.Timeout, config.Dial), name: config.RAID, nqn: config.HostNQN,
		log: config.Logger.With(zap.String("target", config.Socket), zap.String("raid", config.RAID)),
	}
	if err := m.open(ctx, config.New); err != nil {
		m.rpc.Close()
		return nil, fmt.Errorf("open RAID %s of target %s: %w", config.RAID, config.Socket, err)
	}
	return m, nil
}

func (m *Mirror) open(ctx context.Context, isNew bool) error {
	methods, err := rpc.GetMethods().Do(ctx, m.rpc)
	if err != nil {
		return err
	}
	m.can = rpc.NewCapabilities(methods)
	if err := m.restoreNoted(ctx); err != nil {
		return err
	}
	raids, err := rpc.GetRAIDs().Do(ctx, m.rpc)
	if err != nil {
		return err
	}
	r, err := m.find(raids)
	if err != nil {
		r, err = m.findNew(raids, isNew, err)
	}
	if err != nil {
		return err
	}
	if r.Level != "raid1" {
		return rpc.WithKind(ports.ErrInvalid, fmt.Errorf("it is a %s, not a raid1", r.Level))
	}
	if m.hasZeros(r) {
		if err := m.dropZeros(ctx); err != nil {
			return err
		}
	}
	m.uuid = r.UUID
	if m.nqn == "" {
		m.nqn = nvmf.UUIDNQN(m.uuid)
	}
	return nil
}

// findNew finds the note of a RAID that is being made or removed. A new one need not have
// one.
func (m *Mirror) findNew(raids []rpc.RAID, isNew bool, missing error) (*rpc.RAID, error) {
	if noted := m.findPending(raids); noted != nil {
		return noted, nil
	}
	if isNew {
		return &rpc.RAID{Name: m.name, UUID: randid.UUID(), Level: "raid1"}, nil
	}
	return nil, missing
}

// find finds the mirror's RAID.
func (m *Mirror) find(raids []rpc.RAID) (*rpc.RAID, error) {
	var names []string
	for i := range raids {
		if raids[i].Name == m.name {
			return &raids[i], nil
		}
		if !isPending(raids[i].Name) {
			names = append(names, raids[i].Name)
		}
	}
	if len(names) == 0 {
		return nil, rpc.WithKind(ports.ErrNotFound, fmt.Errorf("RAID %q not found; the target has none", m.name))
	}
	return nil, rpc.WithKind(ports.ErrNotFound, fmt.Errorf("RAID %q not found; available: %s", m.name, strings.Join(names, ", ")))
}

// Close ends the connection to the target. Calls under way fail.
func (m *Mirror) Close() error {
	m.rpc.Close()
	return nil
}

// Peer implements ports.Mirror.
func (m *Mirror) Peer(context.Context) (ports.Peer, error) { return nvmf.RAIDPeer(m.uuid, m.nqn) }

// explain says what was tried; it is deferred.
func (m *Mirror) explain(err *error, what string, args ...any) {
	if rpc.IsGone(*err) {
		*err = fmt.Errorf("%w: %w", ports.ErrGone, *err)
	}
	if *err != nil {
		*err = fmt.Errorf("%s of RAID %s: %w", fmt.Sprintf(what, args...), m.name, *err)
	}
}

// members is the key of the lock that changes of the members take.
const members = "members"

// lock waits until no other change of the members is made by this process. What the target told
// before unlock is called is out of date then.
func (m *Mirror) lock(ctx context.Context) (unlock func(), err error) {
	give, err := m.take(ctx, members)
	return func() { m.changes.Add(1); give() }, err
}

func (m *Mirror) take(ctx context.Context, key string) (unlock func(), err error) {
	if unlock, err = m.locks.Take(ctx, key); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ports.ErrUnavailable)
	}
	return unlock, nil
}
