package spdk

import (
	"encoding/json"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/ports"
)

// What a target shows of a rebuild's subsystems.
const (
	modelNumber    = "rootgraft rebuild"
	namespacesOf   = 512       // in the life of one
	everyNamespace = 1<<32 - 1 // stands for all namespaces of one
)

// subsystemOf is the target's subsystem of that NQN, if there is one.
func subsystemOf(t *testing.T, target *targettest.Target, nqn string) (found []spdktypes.NvmfSubsystem) {
	t.Helper()
	var all []spdktypes.NvmfSubsystem
	target.Call(t, "nvmf_get_subsystems", nil, &all)
	for _, sub := range all {
		if sub.Nqn == nqn {
			found = append(found, sub)
		}
	}
	return found
}

// placeOf is where an address leads.
func placeOf(t *testing.T, address ports.Address) (place nvmf.Address) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(address), &place))
	return place
}

// deletedWhereOthersHaveIt: an export of somebody else's, and a RAID, let an lvol go that
// is deleted; a subsystem is removed with it only if a run of ours has made it. What
// tells those is both its model number and its name.
func deletedWhereOthersHaveIt(t *testing.T, p *pair) {
	const theirs = "nqn.2023-01.io.longhorn.spdk:vol-7"
	const ours = "nqn.2023-01.io.longhorn.spdk:vol-1-rebuild-0badcafe-0badf00d"
	const another = "nqn.2023-01.io.longhorn.spdk:vol-2-rebuild-0badcafe-0badf00d"
	for name, c := range map[string]struct {
		nqn, model string
		goes       bool // the subsystem
	}{
		"an export of an engine":              {theirs, "Longhorn", false},
		"our model number, and another name":  {theirs, modelNumber, false},
		"a name like ours, and another model": {ours, "Longhorn", false},
		"of a run that is dead":               {ours, modelNumber, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := openNew(t, p.to, 16)
			head, other, third := create(t, h, "vol-7", 2), create(t, h, "vol-8", 2), create(t, h, "vol-9", 2)
			_ = p.to.Try("nvmf_create_transport", spdktypes.NvmfCreateTransportRequest{Trtype: spdktypes.NvmeTransportTypeTCP}, nil) // there may be one
			export := func(nqn, model string, lvols ...string) {
				p.to.Call(t, "nvmf_create_subsystem", spdktypes.NvmfCreateSubsystemRequest{Nqn: nqn, ModelNumber: model}, nil)
				for _, lvol := range lvols {
					p.to.Call(t, "nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{
						Nqn: nqn, Namespace: spdktypes.NvmfSubsystemNamespace{BdevName: lvol},
					}, nil)
				}
			}
			export(another, modelNumber, third)
			export(c.nqn, c.model, other, head)
			require.NoError(t, h.Delete(t.Context(), head))
			require.Equal(t, []string{"vol-8", "vol-9"}, lvolNames(t, h))
			stays := subsystemOf(t, p.to, another)
			require.Len(t, stays, 1)
			require.Len(t, stays[0].Namespaces, 1, "that of another run, which has another lvol")
			p.to.Call(t, "nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: another}, nil)
			found := subsystemOf(t, p.to, c.nqn)
			if c.goes {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Len(t, found[0].Namespaces, 1, "the other lvol is still exported")
			require.Equal(t, other, found[0].Namespaces[0].BdevName)
			p.to.Call(t, "nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: c.nqn}, nil)
		})
	}
	t.Run("a RAID's base", func(t *testing.T) {
		h := openNew(t, p.to, 16)
		one, two := create(t, h, "vol-7", 2), create(t, h, "vol-8", 2)
		raid := func() *spdktypes.BdevRaidInfo {
			var all []spdktypes.BdevRaidInfo
			p.to.Call(t, "bdev_raid_get_bdevs", spdktypes.BdevRaidGetBdevsRequest{Category: spdktypes.BdevRaidCategoryAll}, &all)
			for i := range all {
				if all[i].Name == "vol" {
					return &all[i]
				}
			}
			return nil
		}
		p.to.Call(t, "bdev_raid_create", map[string]any{"name": "vol", "raid_level": "raid1", "base_bdevs": []string{one, h.store.Alias("vol-8")}}, nil)
		require.NotNil(t, raid())
		require.NoError(t, h.Delete(t.Context(), two), "a base by its alias")
		require.NoError(t, h.Delete(t.Context(), one), "a base by its UUID")
		require.Empty(t, lvolNames(t, h))
		if raid() != nil {
			p.to.Call(t, "bdev_raid_delete", map[string]any{"name": "vol"}, nil)
		}
	})
}
