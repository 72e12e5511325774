package spdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// notDeletedUnderWhatIsHidden: a snapshot whose clone is hidden shows none. A target
// of the Longhorn branch crashes when it is deleted; upstream SPDK merges it into that
// clone.
func notDeletedUnderWhatIsHidden(t *testing.T, p *pair) {
	h := openNew(t, p.from, 16)
	ctx := t.Context()
	a := snapshotOf(t, p.from, h, "vol-1-snap-a", 2, 1)
	hidden := create(t, h, "vol-1-rebuilding-00000001", 2)
	graft, remove := rpc.SetParent(hidden, a), rpc.DeleteLvol(hidden)
	h.store.Client.Do(ctx, graft, remove)
	require.NoError(t, graft.Err)
	require.ErrorIs(t, remove.Err, ports.ErrBusy)
	require.Equal(t, []string{"vol-1-snap-a"}, lvolNames(t, h))

	err := h.Delete(ctx, a)
	require.ErrorIs(t, err, ports.ErrBusy)
	require.ErrorContains(t, err, "has hidden it until the target is started again")
	require.Equal(t, []string{"vol-1-snap-a"}, lvolNames(t, h), "no helper is left")
	l, err := h.Look(ctx, a)
	require.NoError(t, err)
	require.EqualValues(t, 1, l.Own.Count, "nothing was merged")

	p.from.Restart(t)
	require.Equal(t, []string{"vol-1-rebuilding-00000001", "vol-1-snap-a"}, lvolNames(t, h))
	require.ErrorIs(t, h.Delete(ctx, a), ports.ErrInvalid)
	require.NoError(t, h.Delete(ctx, hidden))
	require.NoError(t, h.Delete(ctx, a))
	require.Empty(t, lvolNames(t, h))
}

// deletedWhileGrafted: another process deletes an lvol in the very moment in which it
// is grafted onto a spacer. The lvol is hidden, and the spacer is not to be deleted as
// usual: its only clone is one that is not listed.
func deletedWhileGrafted(t *testing.T, p *pair) {
	store := p.from.NewStore(t, 16)
	meddler := &meddler{}
	h, err := Open(t.Context(), Config{Socket: p.from.Socket, Lvstore: store, Dial: meddler.dial})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	ctx := t.Context()
	short := snapshotOf(t, p.from, h, "base", 1, 1)
	var l string
	for tries := 1; ; tries++ {
		l = create(t, h, "vol-1-rebuilding-00000001", 2)
		meddler.deletes(l, short)
		err = h.Graft(ctx, l, short)
		require.ErrorIs(t, err, ports.ErrNotFound)
		names := lvolNames(t, h)
		if len(names) > 1 {
			break
		}
		// The target was done with the graft before it read the delete, which then
		// hides nothing, and leaves nothing.
		require.Equal(t, []string{"base"}, names)
		require.Less(t, tries, 50, "the delete never came while the target was grafting")
	}
	require.ErrorContains(t, err, "what was grafted")
	require.Len(t, lvolNames(t, h), 2, "the image, and the spacer, which cannot be deleted now")
	p.from.Restart(t)
	require.Contains(t, lvolNames(t, h), "vol-1-rebuilding-00000001", "it was hidden")
	require.NoError(t, h.Delete(ctx, l))
	require.NoError(t, h.Delete(ctx, short), "the spacer went first: sweep")
	require.Empty(t, lvolNames(t, h))
}

// meddler adds a call of another process to the same write in which an lvol is given a
// parent, unless that is the one that the graft was asked for, of another size.
type meddler struct {
	mu           sync.Mutex
	lvol, parent string
}

func (m *meddler) deletes(lvol, parent string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lvol, m.parent = lvol, parent
}

func (m *meddler) dial(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	return meddled{conn, m}, err
}

type meddled struct {
	net.Conn
	*meddler
}

func (c meddled) Write(p []byte) (int, error) {
	c.mu.Lock()
	lvol := c.lvol
	if !bytes.Contains(p, []byte("bdev_lvol_set_parent")) || bytes.Contains(p, []byte(c.parent)) {
		lvol = ""
	}
	if lvol != "" {
		c.lvol = ""
	}
	c.mu.Unlock()
	if lvol == "" {
		return c.Conn.Write(p)
	}
	theirs, err := json.Marshal(jsonrpc.NewMessage(1<<32-1, "bdev_lvol_delete", spdktypes.BdevLvolDeleteRequest{Name: lvol}))
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(slices.Concat(p, theirs))
	return min(n, len(p)), err
}

// twoProcessesDelete: two engines that do not see each other's leases delete and graft
// the same lvols. Each of them may be refused. A plain bdev_lvol_delete would crash the
// target here; it goes on, and nothing merges.
func twoProcessesDelete(t *testing.T, p *pair) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, p *pair, one, other *Host)
	}{
		{"a clone and its snapshot", twoDeleteACloneAndItsSnapshot},
		{"one snapshot", twoDeleteOneSnapshot},
		{"an lvol that is being grafted", oneDeletesWhatTheOtherGrafts},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := p.from.NewStore(t, 32)
			test.run(t, p, open(t, p.from.Socket, store), open(t, p.from.Socket, store))
		})
	}
}

const rounds = 12

func twoDeleteACloneAndItsSnapshot(t *testing.T, p *pair, one, other *Host) {
	for i := range rounds {
		s := snapshotOf(t, p.from, one, fmt.Sprint("vol-1-snap-", i), 2, 1)
		clone, err := one.Clone(t.Context(), s, fmt.Sprint("vol-1-rebuilding-0000000", i%10), 2*cluster, "")
		require.NoError(t, err)
		ofClone, ofSnapshot := atOnce(
			func() error { return one.Delete(t.Context(), clone) },
			func() error { return other.Delete(t.Context(), s) })
		require.NoError(t, ofClone)
		if ofSnapshot != nil {
			require.Condition(t, func() bool {
				return errors.Is(ofSnapshot, ports.ErrBusy) || errors.Is(ofSnapshot, ports.ErrInvalid)
			}, "%v", ofSnapshot)
			require.NoError(t, other.Delete(t.Context(), s))
		}
		require.Empty(t, lvolNames(t, one))
	}
}

func twoDeleteOneSnapshot(t *testing.T, p *pair, one, other *Host) {
	for i := range rounds {
		s := snapshotOf(t, p.from, one, fmt.Sprint("vol-1-snap-", i), 2, 1)
		for left := true; left; {
			a, b := atOnce(
				func() error { return one.Delete(t.Context(), s) },
				func() error { return other.Delete(t.Context(), s) })
			left = a != nil && b != nil
			for _, err := range []error{a, b} {
				require.NotErrorIs(t, err, ports.ErrUnavailable, "a target that answers")
				left = left && !errors.Is(err, ports.ErrNotFound)
			}
		}
		require.Empty(t, lvolNames(t, one))
	}
}

func oneDeletesWhatTheOtherGrafts(t *testing.T, p *pair, one, other *Host) {
	short := snapshotOf(t, p.from, one, "base", 1, 1)
	for i := range rounds {
		l := create(t, one, fmt.Sprint("vol-1-rebuilding-0000000", i%10), 2)
		_, ofOther := atOnce(
			func() error { return one.Graft(t.Context(), l, short) },
			func() error {
				for range i { // later and later in the graft
					if _, err := other.List(t.Context()); err != nil {
						return err
					}
				}
				return other.Delete(t.Context(), l)
			})
		require.NotErrorIs(t, ofOther, ports.ErrUnavailable, "a target that answers")
		// What was hidden, and what it hangs on, is left until the target is started again.
		p.from.Restart(t)
		store, err := one.List(t.Context())
		require.NoError(t, err)
		for _, left := range store.Lvols {
			if _, inFlight := domain.ReplicaInFlight(left.Name); inFlight && !left.ReadOnly {
				require.NoError(t, one.Delete(t.Context(), left.UUID))
			}
		}
		for _, name := range lvolNames(t, one) {
			if b, err := one.store.Find(t.Context(), one.store.Alias(name)); err == nil && name != "base" {
				require.NoError(t, one.Delete(t.Context(), b.UUID))
			}
		}
		require.Equal(t, []string{"base"}, lvolNames(t, one))
	}
}

func atOnce(one, other func() error) (ofOne, ofOther error) {
	var both sync.WaitGroup
	both.Go(func() { ofOne = one() })
	both.Go(func() { ofOther = other() })
	both.Wait()
	return ofOne, ofOther
}
