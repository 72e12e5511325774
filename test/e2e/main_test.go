package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program.path = filepath.Join(dir, "engine")
	if out, err := exec.Command("go", "build", "-o", program.path, "github.com/rootgraft/rebuild/cmd/engine").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
		return 1
	}
	defer stopTargets()
	return m.Run()
}

// running are the two targets that tests share, each on a core of its own:
// starting one takes longer than most tests. They end with the test process.
var running [2]struct {
	*targettest.Target
	binary string
}

func stopTargets() {
	for _, one := range running {
		if one.Target != nil {
			_ = one.Close()
		}
	}
}

func target(t *testing.T, core int, binary string) *targettest.Target {
	t.Helper()
	one := &running[core]
	if one.Target != nil {
		if one.binary == binary && one.Serves() {
			return one.Target
		}
		require.NoError(t, one.Close())
		one.Target = nil
	}
	started, err := targettest.Launch(binary, core)
	require.NoError(t, err)
	one.Target, one.binary = started, binary
	return started
}

// pairing is where a rebuild goes from and to.
type pairing struct {
	name     string
	binaries [2]string // by core
	from, to int       // cores
}

// kinds of pairings.
type kinds int

const (
	within  kinds = 1 << iota // one target
	between                   // two targets of one flavour
	mixed                     // two of different flavours, both ways
)

// pairings are those of some kinds that there are binaries for, in an order in
// which few targets are started, the ones that run first.
func pairings(t *testing.T, which kinds) []pairing {
	t.Helper()
	binaries := targettest.Binaries(t)
	var all []pairing
	for i, binary := range binaries {
		here := flavour(binary)
		same := [2]string{binary, binary}
		if which&within != 0 {
			all = append(all, pairing{"within one " + here, same, 0, 0})
		}
		if which&between != 0 {
			all = append(all, pairing{here + " to " + here, same, 0, 1})
		}
		if which&mixed != 0 && i+1 < len(binaries) {
			next := flavour(binaries[i+1])
			other := [2]string{binary, binaries[i+1]}
			all = append(all, pairing{here + " to " + next, other, 0, 1}, pairing{next + " to " + here, other, 1, 0})
		}
	}
	if last := running[1]; last.Target != nil && last.binary == binaries[len(binaries)-1] {
		slices.Reverse(all)
	}
	return all
}

func flavour(binary string) string { return filepath.Base(filepath.Dir(binary)) }

// onEach runs a test on each pairing of some kinds, and looks that nothing of a
// rebuild stays open on the targets.
func onEach(t *testing.T, which kinds, run func(t *testing.T, source, destination *targettest.Target)) {
	t.Helper()
	for _, p := range pairings(t, which) {
		t.Run(p.name, func(t *testing.T) {
			source := target(t, p.from, p.binaries[p.from])
			destination := target(t, p.to, p.binaries[p.to])
			t.Cleanup(func() {
				if !t.Failed() {
					requireNothingOpen(t, source)
					requireNothingOpen(t, destination)
				}
			})
			run(t, source, destination)
		})
	}
}

// requireNothingOpen: no subsystem of a rebuild exports anything, and no
// controller of one is attached.
func requireNothingOpen(t *testing.T, target *targettest.Target) {
	t.Helper()
	var subsystems []spdktypes.NvmfSubsystem
	target.Call(t, "nvmf_get_subsystems", nil, &subsystems)
	for _, sub := range subsystems {
		require.NotContains(t, sub.Nqn, helpertypes.NQNPrefix, "a subsystem stays")
	}
	var controllers []spdktypes.BdevNvmeControllerInfo
	target.Call(t, "bdev_nvme_get_controllers", nil, &controllers)
	require.Empty(t, controllers, "a controller stays attached")
}
