package nvmf

import (
	"strings"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

func TestNQNsOfRuns(t *testing.T) {
	long := strings.Repeat("x", 300)
	var all []ports.Run
	for _, replica := range []string{
		"vol-1", "vol-10", "vol-1-rebuild-0badcafe", "vol-1-rebuild-0badcafe-0badcafe", "vol-1-rebuild-0badcafe-0badcafe-0badcafe", long, long + "y", "vol",
	} {
		for _, store := range []string{"", "6ee1c0de-0000-4000-8000-000000000001", "6ee1c0de-0000-4000-8000-000000000002"} {
			all = append(all, ports.Run{Replica: replica, Store: store, ID: "0badcafe"})
		}
	}
	for _, run := range all {
		nqn := runNQN(run)
		require.LessOrEqual(t, len(nqn), 223)
		require.True(t, strings.HasPrefix(nqn, helpertypes.NQNPrefix+":"))
		for _, other := range all {
			require.Equal(t, run == other, isRunNQN(nqn, other), "%s of %v", nqn, other)
			require.Equal(t, run == other, isNQNOf(nqn, other), "%s of %v", nqn, other)
			other.ID = "00c0ffee"
			require.False(t, isNQNOf(nqn, other), "%s of %v", nqn, other)
		}
		parts := runNQNForm.FindStringSubmatch(nqn)
		require.NotNil(t, parts, nqn)
		told := ports.Run{Replica: parts[1], Store: parts[2], ID: parts[3]}
		require.True(t, isSameRun(told, run), "what is listed of it stands for it: %v", told)
		require.True(t, isNQNOf(nqn, told), nqn)
	}
	require.NotEqual(t, runNQN(all[0]), runNQN(all[0]))
	require.False(t, isRunNQN(helpertypes.GetNQN("vol-1-rebuild-0badcafe"), all[0]), "a replica of that name, exported by Longhorn")
}

// TestHeadHost: only an export that was made for one mirror tells its host.
func TestHeadHost(t *testing.T) {
	const replica, host = "vol-1-r-0a1b2c3d", "nqn.2014-08.org.nvmexpress:uuid:raid"
	for name, change := range map[string]func(sub *spdktypes.NvmfSubsystem){
		"of one host": nil,
		"of two": func(sub *spdktypes.NvmfSubsystem) {
			sub.Hosts = append(sub.Hosts, spdktypes.NvmfSubsystemHost{Nqn: "nqn.b"})
		},
		"of nobody":         func(sub *spdktypes.NvmfSubsystem) { sub.Hosts = nil },
		"of any host":       func(sub *spdktypes.NvmfSubsystem) { sub.AllowAnyHost = true },
		"Longhorn's":        func(sub *spdktypes.NvmfSubsystem) { sub.ModelNumber = "SPDK bdev Controller" },
		"a run's":           func(sub *spdktypes.NvmfSubsystem) { sub.ModelNumber = modelNumber },
		"another replica's": func(sub *spdktypes.NvmfSubsystem) { sub.Nqn = headNQN(replica + "0") },
		"with another lvol": func(sub *spdktypes.NvmfSubsystem) { sub.Namespaces = append(sub.Namespaces, sub.Namespaces[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			sub := &spdktypes.NvmfSubsystem{
				Nqn: headNQN(replica), ModelNumber: headModel,
				Hosts: []spdktypes.NvmfSubsystemHost{{Nqn: host}}, Namespaces: make([]spdktypes.NvmfSubsystemNamespace, 1),
			}
			if change == nil {
				require.Equal(t, host, HeadHost(sub, replica))
				return
			}
			change(sub)
			require.Empty(t, HeadHost(sub, replica))
		})
	}
}
