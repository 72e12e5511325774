package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	helpertypes "github.com/longhorn/go-spdk-helper/pkg/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(killedEnv); text != "" {
		fmt.Fprintln(os.Stderr, runKilledRebuild(text))
		os.Exit(1)
	}
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

// running are the targets that tests share, two per binary: starting one takes longer than
// most tests. They end with the test process.
var running struct {
	sync.Mutex
	targets map[slot]*targettest.Target
}

// slot is one of the two targets of a binary.
type slot struct {
	binary string
	second bool
}

func stopTargets() {
	for _, one := range running.targets {
		_ = one.Close()
	}
}

// target is the running one, or a new one if that has ended.
func (s slot) target(t *testing.T) *targettest.Target {
	t.Helper()
	running.Lock()
	defer running.Unlock()
	if one := running.targets[s]; one != nil {
		if one.Serves() {
			return one
		}
		delete(running.targets, s)
		require.NoError(t, one.Close())
	}
	started, err := targettest.Launch(s.binary)
	require.NoError(t, err)
	if running.targets == nil {
		running.targets = make(map[slot]*targettest.Target)
	}
	running.targets[s] = started
	return started
}

// pairing is the source and the destination of a rebuild.
type pairing struct {
	name     string
	from, to slot
}

// Kinds of pairings.
type kinds int

const (
	within  kinds = 1 << iota // one target
	between                   // two targets of one flavour
	mixed                     // two of different flavours, both ways
)

// rounds are the pairings of these kinds for which there are binaries. Lanes of one round
// share no target.
func rounds(t *testing.T, which kinds) (all [][]lane) {
	t.Helper()
	binaries := targettest.Binaries(t)
	var alone []lane
	for _, binary := range binaries {
		here, first := flavour(binary), slot{binary: binary}
		var one lane
		if which&within != 0 {
			one = append(one, pairing{"within one " + here, first, first})
		}
		if which&between != 0 {
			one = append(one, pairing{here + " to " + here, first, slot{binary, true}})
		}
		alone = append(alone, one)
	}
	all = append(all, alone)
	if which&mixed == 0 {
		return all
	}
	for i, binary := range binaries[1:] {
		before := binaries[i]
		all = append(all, []lane{
			{{flavour(before) + " to " + flavour(binary), slot{binary: before}, slot{binary, true}}},
			{{flavour(binary) + " to " + flavour(before), slot{binary: binary}, slot{before, true}}},
		})
	}
	return all
}

// lane is a sequence of pairings.
type lane []pairing

func flavour(binary string) string { return filepath.Base(filepath.Dir(binary)) }

// onEach runs a test on each pairing of these kinds, and checks that nothing of a rebuild
// stays open on the targets. The lanes of a round run in parallel, since tests mostly wait
// for targets, which poll their sockets every 4 ms.
func onEach(t *testing.T, which kinds, run func(t *testing.T, source, destination *targettest.Target)) {
	t.Helper()
	for _, round := range rounds(t, which) {
		var lanes sync.WaitGroup
		for _, one := range round {
			lanes.Go(func() {
				for _, p := range one {
					t.Run(p.name, func(t *testing.T) { onOne(t, p, run) })
				}
			})
		}
		lanes.Wait()
	}
}

func onOne(t *testing.T, p pairing, run func(t *testing.T, source, destination *targettest.Target)) {
	source, destination := p.from.target(t), p.to.target(t)
	t.Cleanup(func() {
		if !t.Failed() {
			requireNothingOpen(t, source)
			requireNothingOpen(t, destination)
		}
	})
	run(t, source, destination)
}

// requireNothingOpen checks that no subsystem of a rebuild exports anything, and that no
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
