package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// targetCluster is that of stores on targets: small, and sizes are whole MiB.
const targetCluster = 256 << 10

const (
	storeClusters = 120
	restartTime   = 100 * time.Millisecond // of a target that has died
	writesMiB     = 8                      // a second, so that a copy takes a while
)

// machine is a simulated target that is started again when it has died.
type machine struct {
	t      *testing.T
	fabric *simtarget.Fabric
	side   string
	disk   string
	config simtarget.Config

	mu     sync.Mutex
	target *simtarget.Target // the last one
}

func (m *machine) current() *simtarget.Target {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.target
}

// targetEnvironment is a stage of two simulated targets within the process, each with one
// store. All of it lives in a bubble of testing/synctest.
type targetEnvironment struct {
	t        *testing.T
	trial    trial
	fabric   *simtarget.Fabric
	machines map[string]*machine
	lookers  map[string]*spdk.Host
	ends     []func()

	mu    sync.Mutex
	meets func(side string, r simtarget.Request) simtarget.Fault // nil: nothing befalls
}

func newTargets(t *testing.T, p trial) *targetEnvironment {
	t.Helper()
	s := &targetEnvironment{t: t, trial: p, fabric: simtarget.NewFabric(), machines: make(map[string]*machine), lookers: make(map[string]*spdk.Host)}
	dir, err := os.MkdirTemp("", "faults")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	for side, flavour := range map[string]memory.Flavour{"source": p.flavours.source, "destination": p.flavours.destination} {
		s.addMachine(dir, side, flavour)
	}
	source, endSource := s.host("source")
	destination, endDestination := s.host("destination")
	p.world.buildOn(t, s.builtHost("source", source), s.builtHost("destination", destination))
	endSource()
	endDestination()
	for _, m := range s.machines {
		m.restart() // leaves are asleep
		m.call("bdev_set_qos_limit", map[string]any{"name": "disk", "w_mbytes_per_sec": writesMiB})
	}
	return s
}

// addMachine starts a target with a store of its name.
func (s *targetEnvironment) addMachine(dir, side string, flavour memory.Flavour) {
	m := &machine{t: s.t, fabric: s.fabric, side: side, disk: filepath.Join(dir, side)}
	m.config = simtarget.Config{
		Socket: side, Within: true, Flavour: simtarget.Flavour(flavour),
		Inject: func(r simtarget.Request) simtarget.Fault { return s.meet(side, r) },
	}
	s.machines[side] = m
	require.NoError(s.t, os.WriteFile(m.disk, nil, 0o600))
	require.NoError(s.t, os.Truncate(m.disk, (storeClusters+8)*targetCluster))
	m.start()
	m.call("bdev_lvol_create_lvstore", map[string]any{"bdev_name": "disk", "lvs_name": side, "cluster_sz": targetCluster})
}

// end ends all targets.
func (s *targetEnvironment) end() {
	for _, end := range s.ends {
		end()
	}
	for _, m := range s.machines {
		m.current().Kill()
	}
}

func (m *machine) start() {
	target, err := m.fabric.Start(m.config)
	require.NoError(m.t, err)
	m.mu.Lock()
	m.target = target
	m.mu.Unlock()
	m.call("bdev_aio_create", map[string]any{"name": "disk", "filename": m.disk, "block_size": 4096})
}

func (m *machine) restart() {
	m.current().Kill()
	m.start()
}

// restartIfNeeded has a target back that has died or hangs.
func (m *machine) restartIfNeeded() {
	select {
	case <-m.current().Done():
		m.restart()
	default:
		if m.current().Hangs() {
			m.restart()
		}
	}
}

// ofOperator are calls that the operator of a target makes, and no engine.
var ofOperator = map[string]bool{"bdev_aio_create": true, "bdev_lvol_create_lvstore": true}

func (m *machine) call(method string, params map[string]any) {
	conn, err := m.fabric.Dial(context.Background(), m.side)
	require.NoError(m.t, err)
	defer conn.Close()
	require.NoError(m.t, json.NewEncoder(conn).Encode(jsonrpc.NewMessage(1, method, params)))
	var answer struct{ Error json.RawMessage }
	require.NoError(m.t, json.NewDecoder(conn).Decode(&answer))
	require.Empty(m.t, string(answer.Error), method)
}

func (s *targetEnvironment) meet(side string, r simtarget.Request) simtarget.Fault {
	s.mu.Lock()
	meets := s.meets
	s.mu.Unlock()
	if meets == nil || ofOperator[r.Method] {
		return simtarget.Fault{}
	}
	return meets(side, r)
}

func (s *targetEnvironment) builtHost(side string, host *spdk.Host) builtHost {
	return builtHost{host, targetCluster, func(uuid string, at int, b byte) {
		content := make([]byte, targetCluster) // whole, so that nothing of the disk shows
		for i := range 4096 {
			content[i] = b
		}
		require.NoError(s.t, s.machines[side].current().WriteAt(uuid, content, uint64(at)*targetCluster))
	}}
}

// host is a new one, as a process has that has just begun, and how that ends.
func (s *targetEnvironment) host(side string) (host *spdk.Host, end func()) {
	host, err := spdk.Open(context.Background(), spdk.Config{
		Socket: side, Lvstore: side, Dial: func(ctx context.Context, socket string) (net.Conn, error) { return s.fabric.Dial(ctx, socket) },
		Listen: nvmf.Listen{Address: "127.0.0.1", First: 20001, Last: 20016},
	})
	require.NoError(s.t, err)
	return host, func() { require.NoError(s.t, host.Close()) }
}

func (s *targetEnvironment) engine() (app.Request, func()) {
	source, endSource := s.host("source")
	destination, endDestination := s.host("destination")
	return s.trial.request(source, destination), func() { endSource(); endDestination() }
}

func (s *targetEnvironment) cluster() uint64 { return targetCluster }

// sent: nobody counts what crosses between two targets.
func (s *targetEnvironment) sent() (uint64, bool) { return 0, false }

func (s *targetEnvironment) store(side string) (domain.Listing, storeState) {
	store, err := s.looker(side).List(context.Background())
	require.NoError(s.t, err)
	return store, newStoreState(store.Lvols, s.machines[side].current().Clusters)
}

func (s *targetEnvironment) opened(side string) []ports.Opened {
	opened, err := s.looker(side).Opened(context.Background())
	require.NoError(s.t, err)
	return opened
}

func (s *targetEnvironment) view(side, uuid string) []byte {
	view := make([]byte, worldClusters*targetCluster)
	require.NoError(s.t, s.machines[side].current().ReadAt(uuid, view, 0))
	return view
}

// looker is a host that only looks.
func (s *targetEnvironment) looker(side string) *spdk.Host {
	if s.lookers[side] == nil {
		host, end := s.host(side)
		s.lookers[side] = host
		s.ends = append(s.ends, end)
	}
	return s.lookers[side]
}

// requireEqual compares what the heads show, byte for byte. What they show they read
// through snapshots that are compared by themselves (nothingIsForged).
func (s *targetEnvironment) requireEqual(bool) {
	var views [2][]byte
	for i, head := range []struct{ side, name string }{{"source", sourceName}, {"destination", copyName}} {
		_, lvols := s.store(head.side)
		views[i] = make([]byte, worldClusters*targetCluster)
		require.NoError(s.t, s.machines[head.side].current().ReadAt(lvols[head.name].lvol.UUID, views[i], 0), "the head on the %s", head.side)
	}
	require.True(s.t, bytes.Equal(views[0], views[1]), "the heads show other bytes")
}

// callInjector stands in two targets: it notes the calls that come, and has faults
// befall them.
type callInjector struct {
	injector

	stage    *targetEnvironment
	over     chan struct{} // closed when the rebuild is
	reviving sync.WaitGroup
	dying    map[*simtarget.Target]bool
}

// runWithCallFaults is a rebuild whose JSON-RPC calls faults befall. The targets are up
// afterwards.
func runWithCallFaults(on *targetEnvironment, injections ...injection) (*injector, error) {
	request, end := on.engine()
	defer end()
	ctx, give := cancelling()
	defer give()
	s := newCallInjector(on, give, injections)
	request.Observer = s
	_, err := app.New(nil).Rebuild(ctx, request)
	s.leave()
	return &s.injector, err
}

// newCallInjector has faults befall calls until leave.
func newCallInjector(on *targetEnvironment, give context.CancelFunc, injections []injection) *callInjector {
	s := &callInjector{injector: injector{give: give, calls: make(map[string]int), injections: injections}, stage: on, over: make(chan struct{}), dying: make(map[*simtarget.Target]bool)}
	on.listen(s.ask)
	return s
}

// leave has all targets up again.
func (s *callInjector) leave() {
	s.stage.listen(nil)
	close(s.over)
	s.reviving.Wait()
	for _, side := range slices.Sorted(maps.Keys(s.stage.machines)) {
		s.stage.machines[side].restartIfNeeded()
	}
}

func (s *targetEnvironment) listen(meets func(string, simtarget.Request) simtarget.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meets = meets
}

func (s *callInjector) ask(side string, r simtarget.Request) simtarget.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.died {
		return simtarget.Fault{Before: simtarget.Close} // it was never sent
	}
	key := side + " " + r.Method
	s.calls[key]++
	k, first := s.meet(faultPoint{side: side, method: r.Method, n: s.calls[key]})
	switch {
	case k == nil:
		return simtarget.Fault{}
	case first && k.ends == endCaller:
		s.give()
	case first && k.ends == endEngine:
		s.died = true
		s.give()
	case first && k.ends == endTarget && !s.struck[len(s.struck)-1].lasts:
		s.revive(s.stage.machines[side])
	}
	return k.answer
}

// revive starts a target again that is about to die.
func (s *callInjector) revive(m *machine) {
	dying := m.current()
	if s.dying[dying] {
		return // calls that come together can be struck together
	}
	s.dying[dying] = true
	s.reviving.Go(func() {
		select {
		case <-dying.Done():
			time.Sleep(restartTime)
			m.restart()
		case <-s.over: // it hung before it could die, or was dying as all ended
		}
	})
}
