package targettest

import (
	"fmt"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp"
)

// RAIDVolume is a RAID1 of a target, exported to clients by a subsystem that reports ANA
// states.
type RAIDVolume struct {
	RAID    string
	NQN     string
	Address string // host:port
	NSID    uint32

	target *Target
}

// Close ends the export.
func (v *RAIDVolume) Close(t *testing.T) {
	t.Helper()
	v.target.Call(t, "nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: v.NQN}, nil)
}

// NewRAIDVolume makes a volume over bdevs of the target, until the test ends.
func (target *Target) NewRAIDVolume(t *testing.T, bases ...string) *RAIDVolume {
	t.Helper()
	target.mu.Lock()
	target.next++
	name := fmt.Sprintf("volume-%d", target.next)
	target.mu.Unlock()
	target.Call(t, "bdev_raid_create", map[string]any{"name": name, "raid_level": "raid1", "base_bdevs": bases, "superblock": false}, nil)
	t.Cleanup(func() { _ = target.Try("bdev_raid_delete", map[string]any{"name": name}, nil) })
	return target.ExportRAID(t, name)
}

// ExportRAID exports a RAID1 of the target, until the test ends or Close.
func (target *Target) ExportRAID(t *testing.T, name string) *RAIDVolume {
	t.Helper()
	target.mu.Lock()
	target.next++
	number := target.next
	target.mu.Unlock()
	v := &RAIDVolume{RAID: name, NQN: "nqn.2026-01.com.example.test:" + name, NSID: 3, target: target}
	target.createTransport()
	target.Call(t, "nvmf_create_subsystem", spdktypes.NvmfCreateSubsystemRequest{Nqn: v.NQN, AllowAnyHost: true, AnaReporting: true}, nil)
	t.Cleanup(func() { _ = target.Try("nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: v.NQN}, nil) })
	target.Call(t, "nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{
		Nqn: v.NQN, Namespace: spdktypes.NvmfSubsystemNamespace{Nsid: v.NSID, BdevName: name, Nguid: fmt.Sprintf("%032x", number)},
	}, nil)
	v.Address = target.listen(t, v.NQN)
	return v
}

// Connect connects a client, until the test ends.
func (v *RAIDVolume) Connect(t *testing.T) *nvmetcp.Namespace {
	t.Helper()
	s := connect(t, v.Address, v.NQN)
	t.Cleanup(func() { _ = s.Close() })
	n, err := s.Namespace(t.Context(), v.NSID)
	require.NoError(t, err)
	return n
}
