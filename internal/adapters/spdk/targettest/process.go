package targettest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	memoryMiB  = 512
	noHugeMiB  = 1024
	logIsShown = 4096 // bytes, from the end
)

// Binaries are the targets to test with: SPDK_TGT, which may be a list like
// PATH, or else spdk_tgt from the PATH. Without one the test is skipped.
func Binaries(t testing.TB) []string {
	t.Helper()
	if list := os.Getenv("SPDK_TGT"); list != "" {
		binaries := filepath.SplitList(list)
		for i := range binaries { // each target runs in a directory of its own
			var err error
			binaries[i], err = filepath.Abs(binaries[i])
			require.NoError(t, err)
		}
		return binaries
	}
	path, err := exec.LookPath("spdk_tgt")
	if err != nil {
		t.Skip("no SPDK target: set SPDK_TGT to the path of an spdk_tgt (or a list of them), or put one on the PATH")
	}
	return []string{path}
}

// Start runs a real target until the test ends. It polls on the CPU that the fewest
// targets of this test process poll on.
func Start(t *testing.T, binary string) *Target {
	t.Helper()
	return run(t, newProcess(binary))
}

// process is a spdk_tgt.
type process struct {
	binary string
	core   int
	ends   sync.Once // gives the core back

	mu   sync.Mutex
	dies chan struct{} // closed when the process has ended
	cmd  *exec.Cmd

	subsystemsMu sync.Mutex
	subsystems   []*subsystem // the last one is used
}

func newProcess(binary string) *process { return &process{binary: binary, core: cores.take()} }

// Launch is Start until Close, for tests that share one. It ends with the test
// process, however that ends.
func Launch(binary string) (*Target, error) {
	return launch(newProcess(binary))
}

// starting is held by one at a time: a target takes more huge pages while it starts.
var starting sync.Mutex

func (p *process) start(target *Target) error {
	starting.Lock()
	defer starting.Unlock()
	if err := errors.Join(removeIfThere(target.Socket), removeIfThere(target.Socket+".lock")); err != nil {
		return err
	}
	args := []string{"-m", fmt.Sprintf("[%d]", p.core), "--disable-cpumask-locks", "--no-pci", "-r", target.Socket}
	if freeHugeMiB() >= 2*memoryMiB { // it starts with the one and takes more
		args = append(args, "-s", strconv.Itoa(memoryMiB))
	} else {
		args = append(args, "--no-huge", "-s", strconv.Itoa(noHugeMiB))
	}
	log, err := os.OpenFile(target.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = target.dir // for its core, if it crashes
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return err
	}
	dies := make(chan struct{})
	go func() {
		defer close(dies)
		_ = cmd.Wait()
	}()
	p.mu.Lock()
	p.cmd, p.dies = cmd, dies
	p.mu.Unlock()

	// Ready means that an RPC answers, not that the socket exists.
	deadline := time.After(startsIn)
	for {
		var methods []string
		if err = target.call("rpc_get_methods", nil, &methods); err == nil {
			return nil
		}
		select {
		case <-dies:
			return fmt.Errorf("the target has ended: %s %s\n%s", p.binary, strings.Join(args, " "), target.logEnd())
		case <-deadline:
			return fmt.Errorf("the target does not answer: %s %s: %w\n%s", p.binary, strings.Join(args, " "), err, target.logEnd())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *process) kill() {
	p.mu.Lock()
	cmd, dies := p.cmd, p.dies
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	p.closeSubsystems()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
	<-dies
	// What it traced into, up to 170 MB of memory; a target that is killed leaves it.
	_ = os.Remove(fmt.Sprintf("/dev/shm/spdk_tgt_trace.pid%d", cmd.Process.Pid))
}

func (p *process) end() {
	p.kill()
	p.ends.Do(func() { cores.give(p.core) })
}

// Pause stops a real target without ending it, until Resume: it is there, and
// answers nobody.
func (target *Target) Pause(t *testing.T) {
	t.Helper()
	target.signal(t, syscall.SIGSTOP)
}

// Resume lets a paused target go on.
func (target *Target) Resume(t *testing.T) {
	t.Helper()
	target.signal(t, syscall.SIGCONT)
}

func (target *Target) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	p, real := target.machine.(*process)
	require.True(t, real, "only a process can be stopped")
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NoError(t, p.cmd.Process.Signal(signal))
}

// Serves reports whether a real target runs and answers.
func (target *Target) Serves() bool {
	p, real := target.machine.(*process)
	if !real {
		return false
	}
	p.mu.Lock()
	dies := p.dies
	p.mu.Unlock()
	select {
	case <-dies:
		return false
	default:
		return target.call("rpc_get_methods", nil, nil) == nil
	}
}

func (target *Target) log() string { return filepath.Join(target.dir, "log") }

func (target *Target) logEnd() []byte {
	all, _ := os.ReadFile(target.log()) // it is only shown
	return all[max(0, len(all)-logIsShown):]
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// freeHugeMiB is how much of the reserved huge pages is free, 0 where there is
// none.
func freeHugeMiB() int {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	field := func(name string) (value int) {
		for line := range bytes.Lines(info) {
			if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
				_, _ = fmt.Sscan(string(rest), &value)
			}
		}
		return value
	}
	return field("HugePages_Free:") * field("Hugepagesize:") / 1024
}
