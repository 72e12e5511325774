package porttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// patience is the timeout of a test.
const patience = 2 * time.Minute

const (
	replica = "vol-1-r-4e5f6a7b"
	missing = "00000000-0000-4000-8000-000000000000"
)

var (
	run = ports.Run{Replica: replica, ID: "0badcafe"}

	morning = domain.Attributes{CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), UserCreated: true}
	evening = domain.Attributes{CreatedAt: time.Date(2026, 1, 2, 18, 0, 0, 0, time.UTC)}
)

func inFlight(n int) string         { return domain.InFlightLvolName(replica, fmt.Sprintf("%08x", n)) }
func snapshotNamed(s string) string { return domain.SnapshotLvolName(replica, s) }

// subject is a host to test. A method that fails ends the test.
type subject struct {
	t   *testing.T
	ctx context.Context
	Instance
	// Host is that of Instance; it records the names that it is asked to give.
	ports.Host
	store domain.Listing // as it was when it was empty

	harness Harness
}

func newSubjects(t *testing.T, h Harness, n int) []*subject {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	instances := h.NewHosts(t, n)
	require.Len(t, instances, n)
	subjects := make([]*subject, n)
	for i, instance := range instances {
		noted := &notingHost{Host: instance.Host, names: make(map[string]bool)}
		s := &subject{t: t, ctx: ctx, Instance: instance, Host: noted, harness: h}
		s.store = s.list()
		require.Empty(t, s.store.Lvols, "a host begins empty")
		subjects[i] = s
		t.Cleanup(func() {
			if !t.Failed() && !t.Skipped() {
				s.requireConsistent(noted)
			}
		})
	}
	return subjects
}

// requireConsistent checks the end of every test: all listed lvols were asked for, List
// and Look agree, parents are listed, and names and UUIDs are unique.
func (s *subject) requireConsistent(noted *notingHost) {
	require.NoError(s.t, s.Release(s.ctx, run))
	store := s.list()
	uuids, names := make(map[string]bool), make(map[string]bool)
	for _, l := range store.Lvols {
		require.True(s.t, noted.wasAsked(l.Name), "%s was left on the store", l.Name)
		require.False(s.t, uuids[l.UUID] || names[l.Name], "%s is listed twice", l.Name)
		uuids[l.UUID], names[l.Name] = true, true
		require.Equal(s.t, l, s.look(l.UUID), "List and Look disagree")
	}
	for _, l := range store.Lvols {
		require.True(s.t, l.Parent == "" || uuids[l.Parent], "the parent of %s is not listed", l.Name)
	}
}

// list is the store with its lvols by name, without maps and checksums, which are
// optional.
func (s *subject) list() domain.Listing {
	s.t.Helper()
	store, err := s.List(s.ctx)
	require.NoError(s.t, err)
	for i := range store.Lvols {
		store.Lvols[i] = plain(store.Lvols[i])
	}
	slices.SortFunc(store.Lvols, func(a, b domain.Lvol) int { return strings.Compare(a.Name, b.Name) })
	if len(store.Lvols) == 0 {
		store.Lvols = nil
	}
	return store
}

func (s *subject) look(uuid string) domain.Lvol {
	s.t.Helper()
	l, err := s.Look(s.ctx, uuid)
	require.NoError(s.t, err)
	return plain(l)
}

func plain(l domain.Lvol) domain.Lvol {
	l.Own.Map, l.Own.Checksum = "", ""
	l.Attributes.CreatedAt = l.Attributes.CreatedAt.UTC()
	return l
}

// refuses expects an error of that kind and no change.
func (s *subject) refuses(kind error, call func() error, what string) {
	s.t.Helper()
	before := s.list()
	err := call()
	require.ErrorIs(s.t, err, kind, what)
	isOfOneKind(s.t, err)
	require.Equal(s.t, before, s.list(), "%s: refused, and yet something changed", what)
}

// isOfOneKind expects that the error wraps exactly one of the ports' kinds.
func isOfOneKind(t *testing.T, err error) {
	t.Helper()
	kinds := 0
	for _, kind := range []error{
		ports.ErrNotFound, ports.ErrExists, ports.ErrBusy, ports.ErrNoSpace,
		ports.ErrInvalid, ports.ErrUnavailable, ports.ErrUnsupported, ports.ErrCorrupt,
	} {
		if errors.Is(err, kind) {
			kinds++
		}
	}
	require.Equal(t, 1, kinds, "%v has to be of exactly one kind", err)
}

// bytes is a number of clusters in bytes.
func (s *subject) bytes(clusters uint64) uint64 { return clusters * s.store.ClusterSize }

// content is one cluster of bytes that depend on the seed only; 0: zeros. They are drawn
// once, since that takes long with the race detector, and must not be changed: see
// requireUnchanged.
func (s *subject) content(seed byte) []byte {
	of := contentOf{seed, s.store.ClusterSize}
	if known, ok := contents.Load(of); ok {
		return known.(drawn).bytes
	}
	p := make([]byte, s.store.ClusterSize)
	if seed != 0 {
		rand.NewChaCha8([32]byte{seed}).Read(p)
	}
	known, _ := contents.LoadOrStore(of, drawn{slices.Clip(p), crc32.ChecksumIEEE(p)})
	return known.(drawn).bytes
}

type contentOf struct {
	seed byte
	size uint64
}

type drawn struct {
	bytes []byte
	sum   uint32
}

var contents sync.Map // of drawn, by contentOf

// requireUnchanged checks the drawn contents: a host that keeps the slice given to
// WriteAt and writes to it later would change the expected bytes, too.
func requireUnchanged(t *testing.T) {
	contents.Range(func(of, known any) bool {
		require.Equal(t, known.(drawn).sum, crc32.ChecksumIEEE(known.(drawn).bytes), "what was written with seed %d was changed by the host", of.(contentOf).seed)
		return true
	})
}

func (s *subject) create(name string, clusters uint64) (uuid string) {
	s.t.Helper()
	uuid, err := s.Create(s.ctx, name, s.bytes(clusters))
	require.NoError(s.t, err)
	return uuid
}

// fill writes whole clusters of that seed at those positions.
func (s *subject) fill(uuid string, seed byte, positions ...uint64) {
	s.t.Helper()
	for _, i := range positions {
		s.Write(s.t, uuid, s.content(seed), s.bytes(i))
	}
}

// reads expects the lvol to read as clusters of these seeds.
func (s *subject) reads(uuid string, seeds ...byte) {
	s.t.Helper()
	require.Equal(s.t, s.bytes(uint64(len(seeds))), s.look(uuid).Size, "size")
	view := make([]byte, s.bytes(uint64(len(seeds))))
	s.Read(s.t, uuid, view, 0)
	for i, seed := range seeds {
		got := view[s.bytes(uint64(i)):s.bytes(uint64(i)+1)]
		if !bytes.Equal(s.content(seed), got) {
			require.Failf(s.t, "other bytes than expected", "cluster %d has %s instead of seed %d", i, s.describe(got), seed)
		}
	}
}

func (s *subject) describe(p []byte) string {
	for seed := range 256 {
		if bytes.Equal(s.content(byte(seed)), p) {
			return fmt.Sprintf("seed %d", seed)
		}
	}
	return fmt.Sprintf("%x…", p[:8])
}

func (s *subject) seal(uuid, name string) (snapshot string) {
	s.t.Helper()
	snapshot, err := s.Seal(s.ctx, uuid, name, ports.SealRecord{Attributes: morning})
	require.NoError(s.t, err)
	return snapshot
}

// snapshotOf creates a snapshot whose own clusters are of that seed.
func (s *subject) snapshotOf(name string, clusters uint64, seed byte, positions ...uint64) (uuid string) {
	s.t.Helper()
	filled := s.create(inFlight(0), clusters)
	s.fill(filled, seed, positions...)
	return s.seal(filled, name)
}

func (s *subject) graft(uuid, parent string) {
	s.t.Helper()
	require.NoError(s.t, s.Graft(s.ctx, uuid, parent))
}

// clone has the snapshot's size and no record.
func (s *subject) clone(snapshot, name string) (uuid string) {
	s.t.Helper()
	uuid, err := s.Clone(s.ctx, snapshot, name, s.look(snapshot).Size, "")
	require.NoError(s.t, err)
	return uuid
}

func (s *subject) delete(uuid string) {
	s.t.Helper()
	require.NoError(s.t, s.Delete(s.ctx, uuid))
}

// attributes are the attributes that the host lists after these were recorded.
func (s *subject) attributes(recorded domain.Attributes) domain.Attributes {
	if !s.store.Records {
		return domain.Attributes{}
	}
	return recorded
}

// names are those of all lvols listed, sorted.
func (s *subject) names() []string {
	s.t.Helper()
	var names []string
	for _, l := range s.list().Lvols {
		names = append(names, l.Name)
	}
	return names
}

// eventually repeats the call while it is busy.
func (s *subject) eventually(call func() error) {
	s.t.Helper()
	require.NoError(s.t, untilFree(s.ctx, call))
}

func untilFree(ctx context.Context, call func() error) error {
	for {
		err := call()
		if !errors.Is(err, ports.ErrBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}
