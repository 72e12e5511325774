package targettest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
)

// Simulate runs a simulated target until the test ends. Its fabric keeps its stores
// for a restart.
func Simulate(t *testing.T, fabric *simtarget.Fabric, flavour simtarget.Flavour) *Target {
	t.Helper()
	return run(t, &simulated{fabric: fabric, flavour: flavour})
}

// SimulateInFiles is Simulate for one target alone that keeps its stores in files: a
// restart finds what they hold, and nothing else.
func SimulateInFiles(t *testing.T, flavour simtarget.Flavour) *Target {
	t.Helper()
	return run(t, &simulated{flavour: flavour, state: t.TempDir()})
}

// SimulatePolled is Simulate of a target that looks at its socket as seldom as
// SPDK does.
func SimulatePolled(t *testing.T, fabric *simtarget.Fabric, flavour simtarget.Flavour) *Target {
	t.Helper()
	return run(t, &simulated{fabric: fabric, flavour: flavour, poll: 4 * time.Millisecond})
}

type simulated struct {
	poll    time.Duration
	fabric  *simtarget.Fabric // nil: a new one each time
	flavour simtarget.Flavour
	state   string
	target  *simtarget.Target
}

func (s *simulated) start(target *Target) (err error) {
	fabric := s.fabric
	if fabric == nil {
		fabric = simtarget.NewFabric()
	}
	s.target, err = fabric.Start(simtarget.Config{Socket: target.Socket, Flavour: s.flavour, State: s.state, Poll: s.poll})
	return err
}

func (s *simulated) kill() {
	if s.target != nil {
		s.target.Kill()
	}
}

func (s *simulated) end() { s.kill() }

func (s *simulated) access(t *testing.T, _ *Target, uuid string, do func(volume) error) {
	t.Helper()
	require.NoError(t, do(simulatedVolume{s.target, uuid}))
}

type simulatedVolume struct {
	target *simtarget.Target
	uuid   string
}

func (v simulatedVolume) read(p []byte, offset uint64) error {
	return v.target.ReadAt(v.uuid, p, offset)
}

// mostWritten is how much one NVMe/TCP command writes: a whole cluster is written in parts.
const mostWritten = 128 << 10

func (v simulatedVolume) write(p []byte, offset uint64) error {
	for len(p) > 0 {
		n := min(len(p), mostWritten)
		if err := v.target.WriteAt(v.uuid, p[:n], offset); err != nil {
			return err
		}
		p, offset = p[n:], offset+uint64(n)
	}
	return nil
}

func (v simulatedVolume) deallocate(offset, length uint64) error {
	return v.target.Deallocate(v.uuid, offset, length)
}

// Simulated is the simulated target, nil for a real one. After Restart it is
// another one.
func (target *Target) Simulated() *simtarget.Target {
	if s, ok := target.machine.(*simulated); ok {
		return s.target
	}
	return nil
}
