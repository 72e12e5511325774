package raid_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/ports/porttest"
	"github.com/rootgraft/rebuild/internal/randid"
)

func TestRealTargetConformance(t *testing.T) {
	for _, home := range targettest.Binaries(t) {
		for _, other := range targettest.Binaries(t) {
			name := func(binary string) string { return filepath.Base(filepath.Dir(binary)) }
			t.Run(name(home)+" and "+name(other), func(t *testing.T) {
				conform(t, targettest.Start(t, home), targettest.Start(t, other))
			})
		}
	}
}

func TestSimulatedTargetConformance(t *testing.T) {
	t.Parallel()
	for _, home := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		for _, other := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
			t.Run(home.String()+" and "+other.String(), func(t *testing.T) {
				t.Parallel()
				fabric := simtarget.NewFabric()
				conform(t, targettest.Simulate(t, fabric, home), targettest.Simulate(t, fabric, other))
			})
		}
	}
}

// conform runs the contract with a mirror on the first target, one of whose members is there
// and one on the other target.
func conform(t *testing.T, home, other *targettest.Target) {
	porttest.RunMirror(t, porttest.Harness{
		NewHosts: func(t *testing.T, n int) []porttest.Instance {
			instances := make([]porttest.Instance, n)
			for i, target := range []*targettest.Target{home, other}[:n] {
				instances[i] = porttest.Instance{
					Host: openStore(t, target), Write: target.Write, Read: target.Read, Restart: target.Restart,
				}
			}
			return instances
		},
		NewMirror: func(t *testing.T, hosts []porttest.Instance, heads []string) porttest.Mirrored {
			return mirrored(t, home, hosts, heads)
		},
		NewMaker: func(t *testing.T, _ []porttest.Instance) ports.Mirror { return openNew(t, home) },
	})
}

// openNew opens a mirror whose RAID does not exist.
func openNew(t *testing.T, target *targettest.Target) *raid.Mirror {
	t.Helper()
	m, err := raid.OpenMirror(t.Context(), raid.MirrorConfig{Socket: target.Socket, RAID: "made-" + randid.Hex(4), New: true, Logger: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// mirrored makes a RAID over the head of the first host. The head of the second joins.
func mirrored(t *testing.T, home *targettest.Target, hosts []porttest.Instance, heads []string) porttest.Mirrored {
	t.Helper()
	there := hosts[1].Host.(*spdk.Host)
	run := ports.Run{Replica: "vol-1-r-1b2c3d4e", ID: randid.Hex(4)}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		require.NoError(t, there.HideHead(ctx, run.Replica))
	})
	l, err := hosts[0].Host.Look(t.Context(), heads[0])
	require.NoError(t, err)
	filler, err := openStore(t, home).Create(t.Context(), "filler", l.Size) // upstream has no RAID of one base
	require.NoError(t, err)
	exported := home.NewRAIDVolume(t, heads[0], filler)
	m := openMirror(t, home, exported.RAID)

	join(t, m, run, there, heads[1])
	require.NoError(t, m.Leave(t.Context(), filler))
	return porttest.Mirrored{
		Mirror:  m,
		Freezer: freezer.Func(m.Suspend, m.Resume),
		Clients: untrimmed{nvmetcp.Initiator{Context: t.Context(), Namespace: exported.Connect(t)}},
	}
}

// join makes a head a member.
func join(t *testing.T, m *raid.Mirror, run ports.Run, host *spdk.Host, head string) domain.Member {
	t.Helper()
	peer, err := m.Peer(t.Context())
	require.NoError(t, err)
	at, err := host.Offer(t.Context(), run, ports.Way{ID: randid.Hex(4), Head: run.Replica}, peer)
	require.NoError(t, err)
	require.NoError(t, host.Show(t.Context(), run, at, head))
	require.NoError(t, m.Connect(t.Context(), run, at))
	joined, err := m.Join(t.Context(), run, at)
	require.NoError(t, err)
	return joined
}

// untrimmed does not trim, which is allowed.
type untrimmed struct{ nvmetcp.Initiator }

// Trim does nothing.
func (untrimmed) Trim(int64, int64) error { return nil }
