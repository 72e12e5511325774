// Package targettest starts SPDK targets for tests, real ones and simulated ones,
// and reads and writes their lvols as a client of a volume would.
package targettest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"
)

// ClusterSize is that of all stores.
const ClusterSize = 1 << 20

const (
	blockSize = 4096
	startsIn  = 30 * time.Second
)

// Target is a running target, a real one or a simulated one, with a socket in a
// directory of its own.
type Target struct {
	Socket string

	dir     string
	machine machine

	mu     sync.Mutex
	stores map[string]string // by name of the AIO bdev: its file
	next   int
}

// machine is what runs a target, and how its lvols are read and written by those
// who use them.
type machine interface {
	start(target *Target) error
	kill()
	end() // kill for good
	access(t *testing.T, target *Target, uuid string, do func(volume) error)
}

// volume is an lvol that is open. Offsets and lengths are whole blocks.
type volume interface {
	read(p []byte, offset uint64) error
	write(p []byte, offset uint64) error
	deallocate(offset, length uint64) error
}

// run runs a target until the test ends.
func run(t *testing.T, m machine) *Target {
	t.Helper()
	target, err := launch(m)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, target.Close()) })
	return target
}

// launch runs a target until Close.
func launch(m machine) (*Target, error) {
	dir, err := os.MkdirTemp("", "spdk") // t.TempDir can be too long for a socket
	if err != nil {
		return nil, err
	}
	target := &Target{dir: dir, machine: m, Socket: filepath.Join(dir, "rpc.sock"), stores: make(map[string]string)}
	if err := m.start(target); err != nil {
		return nil, errors.Join(err, target.Close())
	}
	return target, nil
}

// Close ends the target, and removes its disks.
func (target *Target) Close() error {
	target.machine.end()
	return os.RemoveAll(target.dir)
}

// Kill ends the target as a power cut would.
func (target *Target) Kill(t *testing.T) {
	t.Helper()
	target.machine.kill()
}

// Restart kills the target, starts it again, and loads its stores.
func (target *Target) Restart(t *testing.T) {
	t.Helper()
	target.Kill(t)
	require.NoError(t, target.machine.start(target))
	target.mu.Lock()
	stores := maps.Clone(target.stores)
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
	return target.NewStoreOf(t, clusters, ClusterSize)
}

// NewStoreOf is NewStore with clusters of another size.
func (target *Target) NewStoreOf(t *testing.T, clusters int, clusterSize uint64) string {
	t.Helper()
	target.mu.Lock()
	target.next++
	name := fmt.Sprintf("store-%d", target.next)
	bdev, file := diskOf(name), filepath.Join(target.dir, name)
	target.stores[bdev] = file
	target.mu.Unlock()

	f, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(clusters+2)*int64(clusterSize)))
	require.NoError(t, f.Close())
	target.loadAIO(t, bdev, file)
	target.Call(t, "bdev_lvol_create_lvstore", spdktypes.BdevLvolCreateLvstoreRequest{BdevName: bdev, LvsName: name, ClusterSz: uint32(clusterSize)}, nil)
	t.Cleanup(func() {
		if target.Simulated() != nil {
			// Its fabric would keep it, every byte, for a disk that never comes back.
			target.Call(t, "bdev_lvol_delete_lvstore", spdktypes.BdevLvolDeleteLvstoreRequest{LvsName: name}, nil)
		}
		target.Call(t, "bdev_aio_delete", spdktypes.BdevAioDeleteRequest{Name: bdev}, nil)
		target.mu.Lock()
		delete(target.stores, bdev)
		target.mu.Unlock()
		require.NoError(t, os.Remove(file))
	})
	return name
}

// CloneExternal makes an lvol that reads through to a bdev outside of its store, and
// returns its UUID. The bdev stays until the target ends: a target that is asked to
// delete one that an lvol reads through to never answers. A restart loses it.
func (target *Target) CloneExternal(t *testing.T, store, name string, content []byte) (uuid string) {
	t.Helper()
	target.mu.Lock()
	target.next++
	bdev := fmt.Sprintf("external-%d", target.next)
	target.mu.Unlock()
	file := filepath.Join(target.dir, bdev)
	require.NoError(t, os.WriteFile(file, content, 0o600))
	target.loadAIO(t, bdev, file)
	target.Call(t, "bdev_lvol_clone_bdev", map[string]any{"bdev": bdev, "lvs_name": store, "clone_name": name}, &uuid)
	return uuid
}

// LimitWrites holds all writes to a store at so many MiB a second, so that a test
// can look at a copy that goes on. 0 is no limit; a restart lifts it, too. A real
// target is never asked to lift one: that crashes it where a channel of the disk is
// opened at that moment.
func (target *Target) LimitWrites(t *testing.T, store string, mibPerSecond int) {
	t.Helper()
	const unreached = 1 << 20
	if mibPerSecond == 0 {
		mibPerSecond = unreached
	}
	target.Call(t, "bdev_set_qos_limit", map[string]any{"name": diskOf(store), "w_mbytes_per_sec": mibPerSecond}, nil)
}

func diskOf(store string) string { return "aio-" + store }

func (target *Target) loadAIO(t *testing.T, bdev, file string) {
	t.Helper()
	target.Call(t, "bdev_aio_create", spdktypes.BdevAioCreateRequest{Name: bdev, Filename: file, BlockSize: blockSize}, nil)
}

// Write puts bytes into a writable lvol. Offset and length are whole blocks.
func (target *Target) Write(t *testing.T, uuid string, p []byte, offset uint64) {
	t.Helper()
	target.machine.access(t, target, uuid, func(v volume) error { return v.write(p, offset) })
}

// Deallocate gives a range of a writable lvol back, as an NVMe deallocate does.
func (target *Target) Deallocate(t *testing.T, uuid string, offset, length uint64) {
	t.Helper()
	target.machine.access(t, target, uuid, func(v volume) error { return v.deallocate(offset, length) })
}

// Read fills p from the view of an lvol.
func (target *Target) Read(t *testing.T, uuid string, p []byte, offset uint64) {
	t.Helper()
	target.machine.access(t, target, uuid, func(v volume) error { return v.read(p, offset) })
}

// ReadEach reads an lvol of that many clusters, one after the other, where that may
// fail. The content is valid until each returns.
func (target *Target) ReadEach(t *testing.T, uuid string, clusters uint64, each func(content []byte, err error)) {
	t.Helper()
	if clusters == 0 {
		return // what has no blocks cannot be exported
	}
	target.machine.access(t, target, uuid, func(v volume) error {
		content := make([]byte, ClusterSize)
		for i := range clusters {
			each(content, v.read(content, i*ClusterSize))
		}
		return nil
	})
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
