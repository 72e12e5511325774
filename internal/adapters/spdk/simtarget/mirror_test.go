package simtarget_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
)

// mirror is a RAID1 on target c over the heads of a1 and a2, which c is attached to, exported
// to clients as namespace 1 of a subsystem that reports ANA.
type mirror struct {
	t       *testing.T
	fabric  *simtarget.Fabric
	targets map[string]*simtarget.Target
	clients map[string]*client
}

const (
	clustersOfHead = 8
	volumeNQN      = "nqn.2026-01.com.example:vol"
)

// within plays a test with a mirror in a bubble of virtual time.
func within(t *testing.T, flavour simtarget.Flavour, play func(t *testing.T, m *mirror)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &mirror{t: t, fabric: simtarget.NewFabric(), targets: make(map[string]*simtarget.Target), clients: make(map[string]*client)}
		for _, name := range []string{"a1", "a2", "b", "c"} {
			m.targets[name] = start(t, m.fabric, simtarget.Config{Socket: name, Within: true, Flavour: flavour})
			conn, err := m.fabric.Dial(t.Context(), name)
			require.NoError(t, err)
			t.Cleanup(func() { conn.Close() })
			c := &client{t: t, conn: conn, in: json.NewDecoder(conn)}
			m.clients[name] = c
			c.newStore(newDiskFile(t, 66))
			c.call("nvmf_create_transport", map[string]any{"trtype": "TCP"})
		}
		for _, a := range []string{"a1", "a2"} {
			m.clients[a].create("head", clustersOfHead)
			m.export(a, "head", "head-"+a, 1, 1)
			m.attach("c", "head-"+a, a)
		}
		c := m.clients["c"]
		c.call("bdev_raid_create", map[string]any{"name": "vol", "raid_level": "raid1", "base_bdevs": []string{"head-a1n1", "head-a2n1"}, "superblock": false})
		m.export("c", "vol", "vol", 1, 1)
		play(t, m)
	})
}

func nqn(name string) string { return "nqn.2026-01.com.example:" + name }

func address(target string) map[string]any {
	port := map[string]string{"a1": "4421", "a2": "4422", "b": "4423", "c": "4424"}[target]
	return map[string]any{"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": port}
}

// open makes a subsystem of that name, whose controllers' IDs begin at least.
func (m *mirror) open(target, name string, least int) {
	m.t.Helper()
	c := m.clients[target]
	c.call("nvmf_create_subsystem", map[string]any{"nqn": nqn(name), "allow_any_host": true, "ana_reporting": true, "min_cntlid": least, "max_cntlid": least + 99})
	c.call("nvmf_subsystem_add_listener", map[string]any{"nqn": nqn(name), "listen_address": address(target)})
}

// add makes an lvol, or a bdev, a namespace, with an NGUID that its subsystem and NSID give.
func (m *mirror) add(target, bdev, name string, nsid int) {
	m.t.Helper()
	if bdev != "vol" {
		bdev = "store/" + bdev
	}
	id := fmt.Sprintf("%032x", append([]byte(name), byte(nsid)))[:32]
	m.clients[target].call("nvmf_subsystem_add_ns", map[string]any{"nqn": nqn(name), "namespace": map[string]any{
		"bdev_name": bdev, "nsid": nsid, "nguid": strings.ToUpper(id), "uuid": fmt.Sprintf("%s-%s-%s-%s-%s", id[:8], id[8:12], id[12:16], id[16:20], id[20:]),
	}})
}

func (m *mirror) export(target, bdev, name string, nsid, least int) {
	m.t.Helper()
	m.open(target, name, least)
	m.add(target, bdev, name, nsid)
}

// attach attaches target to a subsystem of another one, by the timeouts that a rebuild uses.
func (m *mirror) attach(target, name, to string) json.RawMessage {
	m.t.Helper()
	params := address(to)
	for key, value := range map[string]any{
		"name": name, "subnqn": nqn(name), "ctrlr_loss_timeout_sec": 5, "reconnect_delay_sec": 1, "fast_io_fail_timeout_sec": 3, "multipath": "failover",
	} {
		params[key] = value
	}
	return m.clients[target].call("bdev_nvme_attach_controller", params)
}

// volume is what a client of the mirror reads and writes.
func (m *mirror) volume() *simtarget.Namespace {
	n, ok := m.targets["c"].Namespace(volumeNQN, "host", 1)
	require.True(m.t, ok)
	return n
}

// members are the names of the base bdevs that serve.
func (m *mirror) members() (names []string) {
	m.t.Helper()
	var raids []struct {
		Bases []struct {
			Name       *string `json:"name"`
			Configured bool    `json:"is_configured"`
		} `json:"base_bdevs_list"`
	}
	require.NoError(m.t, json.Unmarshal(m.clients["c"].call("bdev_raid_get_bdevs", map[string]any{"category": "all"}), &raids))
	for _, one := range raids[0].Bases {
		if one.Name != nil && one.Configured {
			names = append(names, *one.Name)
		}
	}
	return names
}

// view reads an lvol at its own target.
func (m *mirror) view(target, lvol string) []byte {
	m.t.Helper()
	all := make([]byte, clustersOfHead*mib)
	require.NoError(m.t, m.targets[target].ReadAt("store/"+lvol, all, 0))
	return all
}

// writers write to the volume, each to blocks of its own, and check what they read, until they are
// stopped.
type writers struct {
	stop chan struct{}
	done sync.WaitGroup
	m    *mirror

	mu      sync.Mutex
	content []byte // of the whole volume
	longest time.Duration
	writes  int
}

const block = 4096

func (m *mirror) write() *writers {
	w := &writers{stop: make(chan struct{}), m: m, content: make([]byte, clustersOfHead*mib)}
	n := m.volume()
	for i := range 4 {
		w.done.Go(func() { w.run(n, rand.New(rand.NewPCG(uint64(i), 7)), uint64(i)) })
	}
	return w
}

func (w *writers) run(n *simtarget.Namespace, random *rand.Rand, own uint64) {
	p, read := make([]byte, block), make([]byte, block)
	for {
		select {
		case <-w.stop:
			return
		case <-time.After(time.Millisecond):
		}
		at := (random.Uint64N(clustersOfHead*mib/block/4)*4 + own) * block
		began := time.Now()
		if random.IntN(2) == 0 {
			for i := range p {
				p[i] = byte(random.IntN(256))
			}
			if err := n.WriteAt(p, at); err != nil {
				w.m.t.Errorf("write at %d: %v", at, err)
				return
			}
			w.mu.Lock()
			copy(w.content[at:], p)
			w.writes++
			w.mu.Unlock()
		}
		if err := n.ReadAt(read, at); err != nil {
			w.m.t.Errorf("read at %d: %v", at, err)
			return
		}
		w.mu.Lock()
		if !bytes.Equal(read, w.content[at:at+block]) {
			w.m.t.Errorf("other bytes at %d", at)
		}
		w.longest = max(w.longest, time.Since(began))
		w.mu.Unlock()
	}
}

func (w *writers) end() []byte {
	close(w.stop)
	w.done.Wait()
	return w.content
}

var bothFlavours = map[string]simtarget.Flavour{"fork": simtarget.Fork, "upstream": simtarget.Upstream}

func TestMirrorServesOnWithoutAMember(t *testing.T) {
	for name, flavour := range bothFlavours {
		t.Run(name, func(t *testing.T) {
			within(t, flavour, func(t *testing.T, m *mirror) {
				w := m.write()
				time.Sleep(time.Second)
				m.targets["a1"].Kill()
				time.Sleep(time.Second)
				require.Len(t, m.members(), 2, "I/O waits for its return")
				time.Sleep(3 * time.Second)
				require.Equal(t, []string{"head-a2n1"}, m.members())
				want := w.end()
				require.Greater(t, w.longest, 2*time.Second)
				require.Less(t, w.longest, 4*time.Second)
				require.Equal(t, want, m.view("a2", "head"))

				m.targets["a2"].Kill()
				require.Error(t, m.volume().WriteAt(make([]byte, block), 0))
				require.JSONEq(t, "[]", string(m.clients["c"].call("bdev_raid_get_bdevs", map[string]any{"category": "all"})))
			})
		})
	}
}

// The timeouts count from the last loss, also of a path that nobody has used since the one before.
func TestPathThatIsLostAgainIsWaitedForAsLong(t *testing.T) {
	within(t, simtarget.Fork, func(t *testing.T, m *mirror) {
		listener := map[string]any{"nqn": nqn("head-a1"), "listen_address": address("a1")}
		m.clients["a1"].call("nvmf_subsystem_remove_listener", listener)
		time.Sleep(time.Second)
		m.clients["a1"].call("nvmf_subsystem_add_listener", listener)
		time.Sleep(3500 * time.Millisecond)
		m.clients["a1"].call("nvmf_subsystem_remove_listener", listener)
		lost := time.Now()
		time.Sleep(time.Second) // past ctrlr_loss_timeout_sec of the first loss
		require.NoError(t, m.volume().WriteAt(make([]byte, block), 0))
		require.InDelta(t, 3, time.Since(lost).Seconds(), 0.1, "fast_io_fail_timeout_sec")
		attached := func() string { return string(m.clients["c"].call("bdev_nvme_get_controllers", nil)) }
		time.Sleep(1500 * time.Millisecond)
		require.Contains(t, attached(), "head-a1")
		time.Sleep(time.Second)
		require.NotContains(t, attached(), "head-a1")
	})
}

// A RAID that is deleted while it waits for a read of a new base does not keep that.
func TestGrowEndsWithItsRAID(t *testing.T) {
	within(t, simtarget.Fork, func(t *testing.T, m *mirror) {
		m.clients["b"].create("head", clustersOfHead)
		m.export("b", "head", "live", 1, 1)
		m.attach("c", "live", "b")
		listener := map[string]any{"nqn": nqn("live"), "listen_address": address("b")}
		m.clients["b"].call("nvmf_subsystem_remove_listener", listener)
		c := m.clients["c"]
		c.send("bdev_raid_grow_base_bdev", map[string]any{"raid_name": "vol", "base_name": "liven1"})
		time.Sleep(time.Second)
		c.call("bdev_raid_delete", map[string]any{"name": "vol"})
		grown := c.receive()
		require.NotNil(t, grown.Error, "%s", grown.Result)
		m.clients["b"].call("nvmf_subsystem_add_listener", listener)
		c.call("bdev_raid_create", map[string]any{"name": "next", "raid_level": "raid1", "base_bdevs": []string{"liven1"}, "superblock": false})
	})
}

// An ANA state keeps new I/O out. Only a change of the namespace waits for I/O that has begun, also a
// change that is refused.
func TestAddOfATakenNamespaceDrains(t *testing.T) {
	within(t, simtarget.Upstream, func(t *testing.T, m *mirror) {
		c := m.clients["c"]
		ana := func(state string) {
			c.call("nvmf_subsystem_listener_set_ana_state", map[string]any{"nqn": volumeNQN, "listen_address": address("c"), "ana_state": state})
		}
		began := time.Now()
		var wrote, kept atomic.Int64
		var writing sync.WaitGroup
		m.targets["a1"].Kill()
		writing.Go(func() {
			require.NoError(t, m.volume().WriteAt(make([]byte, block), 0))
			wrote.Store(int64(time.Since(began)))
		})
		time.Sleep(time.Second)
		ana("inaccessible")
		require.Equal(t, time.Second, time.Since(began), "it does not wait for the write")
		writing.Go(func() {
			require.NoError(t, m.volume().WriteAt(make([]byte, block), block))
			kept.Store(int64(time.Since(began)))
		})
		c.send("nvmf_subsystem_add_ns", map[string]any{"nqn": volumeNQN, "namespace": map[string]any{"bdev_name": "disk", "nsid": 1}})
		require.NotNil(t, c.receive().Error)
		drained := time.Since(began)
		require.GreaterOrEqual(t, drained, time.Duration(wrote.Load()))
		require.Greater(t, time.Duration(wrote.Load()), 2*time.Second)
		time.Sleep(time.Second)
		ana("optimized")
		writing.Wait()
		require.GreaterOrEqual(t, time.Duration(kept.Load()), drained+time.Second)
	})
}

// The calls of a rebuild under a live volume, whose source dies in the middle.
func TestMemberJoinsOverTwoPaths(t *testing.T) {
	within(t, simtarget.Fork, func(t *testing.T, m *mirror) {
		w := m.write()
		b, c := m.clients["b"], m.clients["c"]
		m.open("b", "live", 1)
		m.attach("c", "live", "b")
		m.open("a1", "cut", 1)
		m.open("a2", "cut", 1001)
		m.attach("b", "cut", "a1")
		time.Sleep(time.Second)

		state := func(to string) {
			c.call("nvmf_subsystem_listener_set_ana_state", map[string]any{"nqn": volumeNQN, "listen_address": address("c"), "ana_state": to})
		}
		state("inaccessible")
		for _, a := range []string{"a1", "a2"} {
			m.clients[a].call("bdev_lvol_snapshot", map[string]any{"lvol_name": "store/head", "snapshot_name": "cut"})
			m.add(a, "cut", "cut", 1)
		}
		m.settle("b", "cutn1")
		require.JSONEq(t, "[]", string(m.attach("b", "cut", "a2")))
		b.call("bdev_wait_for_examine", nil)
		b.call("bdev_lvol_clone_bdev", map[string]any{"bdev": "cutn1", "lvs_name": "store", "clone_name": "head"})
		m.add("b", "head", "live", 1)
		m.settle("c", "liven1")
		c.call("bdev_wait_for_examine", nil)
		c.call("bdev_raid_grow_base_bdev", map[string]any{"raid_name": "vol", "base_name": "liven1"})
		state("optimized")
		time.Sleep(time.Second)

		m.targets["a1"].Kill()
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{"head-a2n1", "liven1"}, m.members())
		time.Sleep(time.Second)
		require.Contains(t, string(b.call("bdev_nvme_get_controllers", map[string]any{"name": "cut"})), `"trsvcid":"4422"`)

		b.create("cut", clustersOfHead)
		cut := m.view("a2", "cut")
		require.NoError(t, m.targets["b"].WriteAt("store/cut", cut, 0))
		b.call("bdev_lvol_snapshot", map[string]any{"lvol_name": "store/cut", "snapshot_name": "copy"})
		state("inaccessible")
		b.call("bdev_lvol_set_parent", map[string]any{"lvol_name": "store/head", "parent_name": "store/copy"})
		state("optimized")
		b.call("bdev_nvme_detach_controller", map[string]any{"name": "cut"})
		time.Sleep(time.Second)
		want := w.end()
		require.True(t, bytes.Equal(want, m.view("a2", "head")))
		require.True(t, bytes.Equal(want, m.view("b", "head")))
		require.NotZero(t, w.writes)
	})
}

// A target closes its channels to an external snapshot without waiting for the reads that go on.
func TestExchangeUnderLoadKillsTheTarget(t *testing.T) {
	within(t, simtarget.Upstream, func(t *testing.T, m *mirror) {
		m.clients["a1"].call("bdev_lvol_snapshot", map[string]any{"lvol_name": "store/head", "snapshot_name": "cut"})
		m.export("a1", "cut", "cut", 1, 1)
		m.attach("b", "cut", "a1")
		b := m.clients["b"]
		for _, name := range []string{"still", "read"} {
			b.call("bdev_lvol_clone_bdev", map[string]any{"bdev": "cutn1", "lvs_name": "store", "clone_name": name})
		}
		b.create("copy", clustersOfHead)
		b.call("bdev_lvol_snapshot", map[string]any{"lvol_name": "store/copy", "snapshot_name": "copied"})
		b.call("bdev_lvol_set_parent", map[string]any{"lvol_name": "store/still", "parent_name": "store/copied"})
		stop := time.After(time.Second)
		go func() {
			for range time.Tick(100 * time.Microsecond) {
				select {
				case <-stop:
					return
				default:
					_ = m.targets["b"].ReadAt("store/read", make([]byte, block), 0) // until it is dead
				}
			}
		}()
		b.send("bdev_lvol_set_parent", map[string]any{"lvol_name": "store/read", "parent_name": "store/copied"})
		b.closed()
		require.ErrorContains(t, m.targets["b"].Err(), "exchanged while it was read")
		time.Sleep(2 * time.Second)
	})
}

// settle waits until a bdev is there.
func (m *mirror) settle(target, bdev string) {
	m.t.Helper()
	m.clients[target].call("bdev_get_bdevs", map[string]any{"name": bdev, "timeout": 1000})
}
