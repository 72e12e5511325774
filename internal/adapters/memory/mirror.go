package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// DefaultDropAfter is the time after which a Mirror drops a member that fails, as RAIDs of
// SPDK do with base bdevs whose controllers are attached with the recommended timeouts.
const DefaultDropAfter = 4 * time.Second

// MirrorConfig configures a Mirror.
type MirrorConfig struct {
	Name      string
	Heads     []Head        // of the members
	New       bool          // it does not exist yet: without Heads, until Make
	DropAfter time.Duration // 0: DefaultDropAfter
}

// Head is a writable lvol on a host.
type Head struct {
	Host *Host
	UUID string
}

// Mirror is a volume in memory: a RAID1 over heads on hosts of a fabric. It implements
// ports.Mirror. Its clients read and write any ranges, from any number of goroutines; each
// write goes to all members, one after the other, and reads take turns. They wait while a
// member's host takes a snapshot of the head. Writes to one range
// at the same time may leave the members with different bytes there, as those to a RAID do.
//
// If a read or write of a member fails with ErrUnavailable, it waits for
// MirrorConfig.DropAfter and tries again; then, and after any other error at once, the
// mirror drops the member and goes on without it. The last member stays: its errors are
// the clients'.
type Mirror struct {
	config MirrorConfig
	fabric *Fabric
	number int // in the fabric
	size   uint64
	faults faults
	gate   gate

	mu          sync.Mutex // may be locked before a host's
	members     []*member
	connections map[ports.Address]ports.Run
	turn        int       // of reads
	joined      time.Time // the latest member
	exists      bool      // it was made, and not removed
	noted       []string  // heads, by Begin or Remove
	dead        bool      // after Kill
}

var _ ports.Mirror = (*Mirror)(nil)

// NewMirror makes a mirror of heads of one size, which are members from the beginning.
// Their bytes must be equal. The hosts list them as base bdevs of a RAID until Kill.
func (f *Fabric) NewMirror(c MirrorConfig) (*Mirror, error) {
	c.DropAfter = cmp.Or(c.DropAfter, DefaultDropAfter)
	f.mu.Lock()
	f.mirrors++
	m := &Mirror{config: c, fabric: f, number: f.mirrors, connections: make(map[ports.Address]ports.Run)}
	f.mu.Unlock()
	if len(c.Heads) == 0 != c.New {
		return nil, m.wrap("create", fmt.Errorf("%d members of a mirror that exists: %t: %w", len(c.Heads), !c.New, ports.ErrInvalid))
	}
	m.exists = !c.New
	for _, head := range c.Heads {
		if _, err := m.add(&member{host: head.Host, uuid: head.UUID}); err != nil {
			return nil, m.wrap("create", err)
		}
		if err := head.Host.Use(head.UUID, domain.User{Kind: domain.UserRAID, Name: c.Name}); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Size is in bytes.
func (m *Mirror) Size() uint64 { return m.size }

// Inject calls the function for each call of ports.Mirror from now on, and for each
// access to a member; nil ends that. The methods are "volume", "peer", "connect", "join",
// "leave", "release", "cut", "begin", "make", "remove" and "end", and "member-read", "member-write", "member-trim" and
// "member-zeroes" with the UUID of the head. Fault.Restart and Fault.Kill kill the mirror.
// The function may call the mirror and its hosts.
func (m *Mirror) Inject(ask func(Call) Fault) { m.faults.inject(ask) }

func (m *Mirror) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("memory mirror %s: %s: %w", m.config.Name, what, err)
}

var errMirrorDead = fmt.Errorf("the mirror is down: %w: %w", ports.ErrGone, ports.ErrUnavailable)

// carryOut carries out a call of the port. apply runs under the mirror's mutex.
func (m *Mirror) carryOut(ctx context.Context, call Call, what string, apply func() error) error {
	if err := ended(ctx); err != nil {
		return m.wrap(what, err)
	}
	fault := m.faults.next(call)
	err := fault.wait(ctx)
	if err == nil {
		err = fault.Before
	}
	if err == nil {
		err = m.locked(apply)
	}
	if fault.Kill || fault.Restart {
		m.Kill()
		if err == nil {
			err = errMirrorDead
		}
	}
	if fault.After != nil {
		err = fault.After
	}
	return m.wrap(what, err)
}

func (m *Mirror) locked(apply func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errMirrorDead
	}
	return apply()
}

// Volume implements ports.Mirror. Every member that is not lost is domain.ModeRW.
func (m *Mirror) Volume(ctx context.Context) (domain.Volume, error) {
	var volume domain.Volume
	err := m.carryOut(ctx, Call{Method: "volume"}, "list members", func() error {
		if !m.exists {
			return m.pending(&volume)
		}
		volume = domain.Volume{Name: m.config.Name, Size: m.size, Host: string(m.peer())}
		for _, it := range m.members {
			if err := it.reach(); err == nil {
				it.unreached = time.Time{}
			} else if since(&it.unreached) >= m.config.DropAfter {
				m.drop(it, err)
			}
			it.learnName()
			volume.Members = append(volume.Members, it.listed())
		}
		return nil
	})
	return volume, err
}

// Peer implements ports.Mirror.
func (m *Mirror) Peer(ctx context.Context) (ports.Peer, error) {
	err := m.carryOut(ctx, Call{Method: "peer"}, "get its peer", func() error { return nil })
	return unlessLost(m.peer(), err)
}

func (m *Mirror) peer() ports.Peer { return ports.Peer(fmt.Sprintf("memory:mirror:%d", m.number)) }

// Connect implements ports.Mirror.
func (m *Mirror) Connect(ctx context.Context, run ports.Run, at ports.Address) error {
	return m.carryOut(ctx, Call{Method: "connect"}, fmt.Sprintf("connect to %s", at), func() error {
		if _, err := m.fabric.waysFor(m.peer(), []ports.Address{at}); err != nil {
			return err
		}
		m.connections[at] = run
		return nil
	})
}

// Join implements ports.Mirror.
func (m *Mirror) Join(ctx context.Context, _ ports.Run, at ports.Address) (domain.Member, error) {
	var joined domain.Member
	err := m.carryOut(ctx, Call{Method: "join"}, fmt.Sprintf("join the head at %s", at), func() error {
		it, err := m.addAt(at)
		if err == nil {
			joined = it.listed()
		}
		return err
	})
	return joined, err
}

// add adds a member, whose size must be that of the mirror.
func (m *Mirror) add(it *member) (*member, error) {
	size, name, err := it.host.headOf(it.uuid)
	switch {
	case err != nil:
		return nil, err
	case slices.ContainsFunc(m.members, func(other *member) bool { return other.uuid == it.uuid }):
		return nil, fmt.Errorf("%s is a member: %w", name, ports.ErrExists)
	case m.size != 0 && size != m.size:
		return nil, fmt.Errorf("%s has %d bytes, the mirror %d: %w", name, size, m.size, ports.ErrInvalid)
	}
	if m.size == 0 { // afterwards it is read without the mutex
		m.size = size
	}
	it.named.Store(&name)
	it.starts, it.over = it.host.starts.Load(), make(chan struct{})
	it.since = time.Now()
	if !it.since.After(m.joined) {
		it.since = m.joined.Add(1)
	}
	m.joined = it.since
	m.members = append(m.members, it)
	return it, nil
}

// headOf returns the size of a writable lvol, and its name with that of the host.
func (h *Host) headOf(uuid string) (size uint64, name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.findWritable(uuid)
	if err != nil {
		return 0, "", err
	}
	return l.size, h.config.Name + "/" + l.name, nil
}

// Leave implements ports.Mirror.
func (m *Mirror) Leave(ctx context.Context, head string) error {
	return m.carryOut(ctx, Call{Method: "leave", UUID: head}, "remove member "+head, func() error {
		i := slices.IndexFunc(m.members, func(it *member) bool { return it.uuid == head })
		if i < 0 {
			return nil
		}
		it := m.members[i]
		if it.lost == nil && m.working() == 1 {
			return fmt.Errorf("%s is the last member: %w", it.name(), ports.ErrInvalid)
		}
		it.end(errLeft)
		m.members = slices.Delete(slices.Clone(m.members), i, i+1)
		if it.way != nil {
			delete(m.connections, it.way.at)
		}
		return nil
	})
}

// Release implements ports.Mirror.
func (m *Mirror) Release(ctx context.Context, run ports.Run) error {
	return m.carryOut(ctx, Call{Method: "release"}, "release runs of "+run.Replica, func() error {
		for at, of := range m.connections {
			used := slices.ContainsFunc(m.members, func(it *member) bool { return it.way != nil && it.way.at == at })
			if of.SameReplica(run) && !used {
				delete(m.connections, at)
			}
		}
		return nil
	})
}

// Suspend stops reads and writes of clients and waits for those in flight. If ctx ends
// before, clients go on, and it returns an error. ErrBusy if it is suspended already.
func (m *Mirror) Suspend(ctx context.Context) error {
	err := m.locked(func() error { return nil })
	if err == nil {
		err = m.gate.close(ctx)
	}
	return m.wrap("suspend", err)
}

// Resume lets clients go on. No error if they were not stopped.
func (m *Mirror) Resume(context.Context) error {
	m.gate.open(nil)
	return m.wrap("resume", m.locked(func() error { return nil }))
}

// Kill simulates the death of the mirror's host: from now on every call, read and write
// fails. The heads stay as they are.
func (m *Mirror) Kill() {
	m.mu.Lock()
	m.dead = true
	members := m.members
	m.members = nil
	for _, it := range members {
		it.end(errMirrorDead)
	}
	m.mu.Unlock()
	m.unuseHeads()
	m.gate.open(nil)
}

// unuseHeads has the hosts list the first members as bases of this mirror no more.
func (m *Mirror) unuseHeads() {
	for _, head := range m.config.Heads {
		if err := head.Host.Use(head.UUID, domain.User{}); err != nil && !errors.Is(err, ports.ErrNotFound) {
			panic(err) // there is no other error
		}
	}
}
