// Package targettest starts real SPDK targets for tests, and reads and writes
// their lvols as a client of a volume would.
package targettest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"
)

// ClusterSize is that of all stores.
const ClusterSize = 1 << 20

const (
	blockSize  = 4096
	memoryMiB  = 512
	noHugeMiB  = 1024
	startsIn   = 30 * time.Second
	logIsShown = 4096 // bytes, from the end
)

// Binaries are the targets to test with: SPDK_TGT, which may be a list like
// PATH, or else spdk_tgt from the PATH. Without one the test is skipped.
func Binaries(t *testing.T) []string {
	t.Helper()
	if list := os.Getenv("SPDK_TGT"); list != "" {
		return filepath.SplitList(list)
	}
	path, err := exec.LookPath("spdk_tgt")
	if err != nil {
		t.Skip("no SPDK target: set SPDK_TGT to the path of an spdk_tgt (or a list of them), or put one on the PATH")
	}
	return []string{path}
}

// Target is a running spdk_tgt with a socket in a directory of its own.
type Target struct {
	Socket string

	binary string
	dir    string
	core   int

	mu     sync.Mutex
	stores map[string]string // by name of the AIO bdev: its file
	dies   chan struct{}     // closed when the process has ended
	cmd    *exec.Cmd
	next   int

	doors sync.Mutex
	door  *door
}

// Start runs a target until the test ends. core is the CPU that it polls on.
func Start(t *testing.T, binary string, core int) *Target {
	t.Helper()
	dir, err := os.MkdirTemp("", "spdk") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	target := &Target{binary: binary, dir: dir, core: core, Socket: filepath.Join(dir, "rpc.sock"), stores: make(map[string]string)}
	t.Cleanup(func() {
		target.Kill(t)
		require.NoError(t, os.RemoveAll(dir))
	})
	target.run(t)
	return target
}

func (target *Target) run(t *testing.T) {
	t.Helper()
	require.NoError(t, errors.Join(removeIfThere(target.Socket), removeIfThere(target.Socket+".lock")))
	args := []string{"-m", fmt.Sprintf("[%d]", target.core), "--disable-cpumask-locks", "--no-pci", "-r", target.Socket}
	if freeHugeMiB() >= 2*memoryMiB { // it starts with the one and takes more
		args = append(args, "-s", strconv.Itoa(memoryMiB))
	} else {
		args = append(args, "--no-huge", "-s", strconv.Itoa(noHugeMiB))
	}
	log, err := os.OpenFile(target.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer func() { _ = log.Close() }()
	cmd := exec.Command(target.binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	require.NoError(t, cmd.Start())
	dies := make(chan struct{})
	go func() {
		defer close(dies)
		_ = cmd.Wait()
	}()
	target.mu.Lock()
	target.cmd, target.dies = cmd, dies
	target.mu.Unlock()

	// Ready means that an RPC answers, not that the socket exists.
	deadline := time.After(startsIn)
	for {
		var methods []string
		if err = target.call("rpc_get_methods", nil, &methods); err == nil {
			return
		}
		select {
		case <-dies:
			require.FailNow(t, "the target has ended", "%s %s\n%s", target.binary, strings.Join(args, " "), target.logEnd())
		case <-deadline:
			require.FailNow(t, "the target does not answer", "%s %s: %v\n%s", target.binary, strings.Join(args, " "), err, target.logEnd())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the target as a power cut would.
func (target *Target) Kill(t *testing.T) {
	t.Helper()
	target.mu.Lock()
	cmd, dies := target.cmd, target.dies
	target.mu.Unlock()
	if cmd == nil {
		return
	}
	target.doors.Lock()
	target.shutDoor()
	target.doors.Unlock()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
	<-dies
}

// Restart kills the target, starts it again, and loads its stores.
func (target *Target) Restart(t *testing.T) {
	t.Helper()
	target.Kill(t)
	target.run(t)
	target.mu.Lock()
	stores := target.stores
	target.mu.Unlock()
	for bdev, file := range stores {
		target.loadAIO(t, bdev, file)
	}
	// Loading goes on after bdev_aio_create has answered.
	require.Eventually(t, func() bool {
		var loaded []spdktypes.LvstoreInfo
		return target.call("bdev_lvol_get_lvstores", nil, &loaded) == nil && len(loaded) == len(stores)
	}, startsIn, 10*time.Millisecond)
}

// NewStore makes an lvstore of at least that many clusters, until the test
// ends, and returns its name.
func (target *Target) NewStore(t *testing.T, clusters int) string {
	t.Helper()
	target.mu.Lock()
	target.next++
	name := fmt.Sprintf("store-%d", target.next)
	bdev, file := "aio-"+name, filepath.Join(target.dir, name)
	target.stores[bdev] = file
	target.mu.Unlock()

	f, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(clusters+2)*ClusterSize))
	require.NoError(t, f.Close())
	target.loadAIO(t, bdev, file)
	target.Call(t, "bdev_lvol_create_lvstore", spdktypes.BdevLvolCreateLvstoreRequest{BdevName: bdev, LvsName: name, ClusterSz: ClusterSize}, nil)
	t.Cleanup(func() {
		target.Call(t, "bdev_aio_delete", spdktypes.BdevAioDeleteRequest{Name: bdev}, nil)
		target.mu.Lock()
		delete(target.stores, bdev)
		target.mu.Unlock()
		require.NoError(t, os.Remove(file))
	})
	return name
}

func (target *Target) loadAIO(t *testing.T, bdev, file string) {
	t.Helper()
	target.Call(t, "bdev_aio_create", spdktypes.BdevAioCreateRequest{Name: bdev, Filename: file, BlockSize: blockSize}, nil)
}

// Call does one JSON-RPC call, which has to work.
func (target *Target) Call(t *testing.T, method string, params, into any) {
	t.Helper()
	require.NoError(t, target.call(method, params, into))
}

// Try is Call for calls that may fail.
func (target *Target) Try(method string, params, into any) error {
	return target.call(method, params, into)
}

func (target *Target) call(method string, params, into any) error {
	conn, err := net.Dial("unix", target.Socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(startsIn)); err != nil {
		return err
	}
	if err := json.NewEncoder(conn).Encode(jsonrpc.NewMessage(1, method, params)); err != nil {
		return err
	}
	var answer struct {
		Result json.RawMessage
		Error  *jsonrpc.ResponseError
	}
	if err := json.NewDecoder(conn).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %w", method, answer.Error)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer.Result, into)
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
