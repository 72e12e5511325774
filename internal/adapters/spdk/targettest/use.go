package targettest

import (
	"fmt"
	"sync"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Use has somebody use an lvol in the way of wanted, and returns that user with the
// name that it has, until end is called or the test ends. An export that forbids a delete is one that the target itself is
// attached to, a claim that of an esnap clone on another lvstore.
func (target *Target) Use(t *testing.T, uuid string, wanted domain.User) (user domain.User, end func()) {
	t.Helper()
	target.mu.Lock()
	target.next++
	name := fmt.Sprintf("use-%d", target.next)
	target.mu.Unlock()
	user = wanted
	switch wanted.Kind {
	case domain.UserExport:
		user.Name = "nqn.2026-01.com.example.test:" + name
		end = target.export(t, uuid, user.Name)
		if wanted.NoDelete {
			drop, detach := end, target.attachToItself(t, name, user.Name)
			end = func() { detach(); drop() }
		}
	case domain.UserRAID:
		user.Name = name
		end = target.mirror(t, uuid, name)
	case domain.UserClaim:
		user.Name = "read_many_write_none"
		store := target.NewStore(t, 8)
		target.Call(t, "bdev_lvol_clone_bdev", spdktypes.BdevLvolCloneBdevRequest{Bdev: uuid, LvsName: store, CloneName: name}, nil)
		end = func() {
			target.Call(t, "bdev_lvol_delete", spdktypes.BdevLvolDeleteRequest{Name: store + "/" + name}, nil)
		}
	case domain.UserNobody:
		end = func() {}
	}
	end = sync.OnceFunc(end)
	t.Cleanup(end)
	return user, end
}

// export exports an lvol as an engine does that is none of this project's.
func (target *Target) export(t *testing.T, uuid, nqn string) (end func()) {
	t.Helper()
	target.createTransport()
	target.Call(t, "nvmf_create_subsystem", spdktypes.NvmfCreateSubsystemRequest{Nqn: nqn, AllowAnyHost: true}, nil)
	target.Call(t, "nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{
		Nqn: nqn, Namespace: spdktypes.NvmfSubsystemNamespace{BdevName: uuid, Nguid: "0123456789abcdef0123456789abcdef"},
	}, nil)
	target.listen(t, nqn)
	return func() {
		target.Call(t, "nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: nqn}, nil)
	}
}

func (target *Target) attachToItself(t *testing.T, name, nqn string) (detach func()) {
	t.Helper()
	var found []spdktypes.NvmfSubsystem
	target.Call(t, "nvmf_get_subsystems", spdktypes.NvmfGetSubsystemsRequest{Nqn: nqn}, &found)
	at := found[0].ListenAddresses[0]
	target.Call(t, "bdev_nvme_attach_controller", map[string]any{
		"name": name, "trtype": "TCP", "adrfam": "IPv4", "traddr": at.Traddr, "trsvcid": at.Trsvcid, "subnqn": nqn,
	}, nil)
	return func() {
		target.Call(t, "bdev_nvme_detach_controller", map[string]any{"name": name}, nil)
	}
}

// mirror makes a RAID of an lvol and of a bdev that holds nothing.
func (target *Target) mirror(t *testing.T, uuid, name string) (end func()) {
	t.Helper()
	var found []struct {
		Blocks uint64 `json:"num_blocks"`
	}
	target.Call(t, "bdev_get_bdevs", spdktypes.BdevGetBdevsRequest{Name: uuid}, &found)
	require.Len(t, found, 1)
	other := name + "-null"
	target.Call(t, "bdev_null_create", map[string]any{"name": other, "num_blocks": found[0].Blocks, "block_size": blockSize}, nil)
	target.Call(t, "bdev_raid_create", spdktypes.BdevRaidCreateRequest{Name: name, RaidLevel: spdktypes.BdevRaidLevelRaid1, BaseBdevs: []string{uuid, other}}, nil)
	return func() {
		target.Call(t, "bdev_raid_delete", spdktypes.BdevRaidDeleteRequest{Name: name}, nil)
		target.Call(t, "bdev_null_delete", map[string]any{"name": other}, nil)
	}
}
