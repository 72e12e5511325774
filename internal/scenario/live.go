package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

// Live is the volume of an online rebuild.
type Live struct {
	Mirror      *memory.Mirror
	Members     []Member // the source is the first
	FreezeLimit time.Duration
	Snapshot    *Meanwhile // nil: nobody takes a snapshot

	clients liveclient.Config
}

// Member is a whole replica of the live volume.
type Member struct {
	Host    *memory.Host
	Replica string
}

// A simulation has no time to lose: a mirror waits for a member that fails much shorter
// than a RAID of SPDK, and copies take just so long that clients do something meanwhile.
const (
	dropAfter = 50 * time.Millisecond
	copyTakes = 20 * time.Millisecond
)

// goLive makes a mirror of the members' heads.
func (w *World) goLive(s *Scenario, all []*layout) error {
	w.Live = &Live{FreezeLimit: s.Online.FreezeLimit, Snapshot: s.Online.Snapshot}
	var heads []memory.Head
	for i, l := range all {
		w.Live.Members = append(w.Live.Members, Member{w.members[i], l.replica})
		heads = append(heads, memory.Head{Host: w.members[i], UUID: l.lvols[l.head].uuid})
	}
	var err error
	w.Live.Mirror, err = w.Fabric.NewMirror(memory.MirrorConfig{Name: s.Volume.Name, Heads: heads, DropAfter: dropAfter})
	if err != nil {
		return s.errorAt("online", "cannot be built: %v", err)
	}
	w.Live.clients = liveclient.Config{
		Size: int64(w.Live.Mirror.Size()), Seed: s.Online.Seed, Clients: cmp.Or(s.Online.Writers, defaultWriters),
		Unit: int64(s.clusterSize()),
	}
	return nil
}

// takesSnapshotAt reports whether the n-th call is the one at which the snapshot is taken.
func (l *Live) takesSnapshotAt(side Side, call string, n int) bool {
	if l == nil || l.Snapshot == nil {
		return false
	}
	at := Fault{Call: l.Snapshot.Call, Nth: l.Snapshot.Nth}.withDefaults()
	return at.Side == side && at.Call == call && at.Nth == n
}

// Clients read and write a live volume.
type Clients struct {
	live    *Live
	clients *liveclient.Clients
}

// Served is what clients did, and whether the volume served them well.
type Served struct {
	liveclient.Stats

	// Differ describes members that do not have the bytes that clients have written.
	Differ []string
}

// Err is nil if no request failed, no read was wrong, and all members are right.
func (s Served) Err() error {
	switch {
	case s.Failures > 0:
		return fmt.Errorf("clients: %d requests failed, first: %w", s.Failures, s.Failure)
	case s.Wrong > 0:
		return fmt.Errorf("clients: %d reads were wrong, first: %w", s.Wrong, s.FirstWrong)
	case len(s.Differ) > 0:
		return errors.New(s.Differ[0])
	}
	return nil
}

// Start starts the clients.
func (l *Live) Start() (*Clients, error) {
	clients, err := liveclient.Start(l.Mirror, l.clients)
	if err != nil {
		return nil, err
	}
	return &Clients{l, clients}, nil
}

// WaitFor waits until the clients have done that many more requests.
func (c *Clients) WaitFor(ctx context.Context, requests uint64) {
	done := func() uint64 {
		s := c.clients.Stats()
		return s.Reads + s.Writes + s.Trims + s.Zeroes + s.Failures
	}
	for until := done() + requests; done() < until && ctx.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
}

// Stop stops the clients and compares the members with the bytes that they have written.
func (c *Clients) Stop(ctx context.Context) (Served, error) {
	served := Served{Stats: c.clients.Stop()}
	volume, err := c.live.Mirror.Volume(ctx)
	if err != nil {
		return served, err
	}
	for _, m := range volume.Members {
		if m.Mode == domain.ModeERR {
			continue
		}
		if err := c.clients.Check(memberView{c.live.Mirror, m.Head}); err != nil {
			served.Differ = append(served.Differ, fmt.Sprintf("member %s: %v", m.Name, err))
		}
	}
	return served, nil
}

// memberView reads one member of a mirror.
type memberView struct {
	mirror *memory.Mirror
	head   string
}

var _ io.ReaderAt = memberView{}

func (v memberView) ReadAt(p []byte, offset int64) (int, error) {
	if err := v.mirror.ReadMember(v.head, p, offset); err != nil {
		return 0, err
	}
	return len(p), nil
}
