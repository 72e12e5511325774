package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// wire makes one call after the other on a connection, and nothing else: its time is the
// lower bound.
type wire struct {
	t    *testing.T
	conn net.Conn
	in   *json.Decoder
	id   uint32
}

func dial(t *testing.T, socket string) *wire {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &wire{t: t, conn: conn, in: json.NewDecoder(conn)}
}

func (w *wire) try(method string, params, into any) error {
	w.t.Helper()
	w.id++
	require.NoError(w.t, json.NewEncoder(w.conn).Encode(jsonrpc.NewMessage(w.id, method, params)))
	var answer struct {
		Result json.RawMessage
		Error  *jsonrpc.ResponseError
	}
	require.NoError(w.t, w.in.Decode(&answer))
	if answer.Error != nil {
		return answer.Error
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer.Result, into)
}

func (w *wire) call(method string, params, into any) {
	w.t.Helper()
	require.NoError(w.t, w.try(method, params, into), "%s %v", method, params)
}

const (
	rawController = "raw"
	rawHostNQN    = "nqn.2026-01.com.example.measure:host"
)

// export is a subsystem made by bare calls, attached at the source.
type export struct {
	source, destination *wire
	nqn                 string
}

var measuredSubsystems int

func exportRaw(t *testing.T, source, destination *wire) *export {
	t.Helper()
	measuredSubsystems++
	x := &export{source: source, destination: destination, nqn: fmt.Sprintf("nqn.2026-01.com.example.measure:%d", measuredSubsystems)}
	_ = destination.try("nvmf_create_transport", spdktypes.NvmfCreateTransportRequest{Trtype: spdktypes.NvmeTransportTypeTCP}, nil) // it may be there
	destination.call("nvmf_create_subsystem", spdktypes.NvmfCreateSubsystemRequest{Nqn: x.nqn, AllowAnyHost: true, MaxNamespaces: 256}, nil)
	port := freePort(t)
	destination.call("nvmf_subsystem_add_listener", spdktypes.NvmfSubsystemAddListenerRequest{
		Nqn: x.nqn,
		ListenAddress: spdktypes.NvmfSubsystemListenAddress{
			Trtype: spdktypes.NvmeTransportTypeTCP, Adrfam: spdktypes.NvmeAddressFamilyIPv4, Traddr: "127.0.0.1", Trsvcid: port,
		},
	}, nil)
	source.call("bdev_nvme_attach_controller", map[string]any{
		"name": rawController, "trtype": "TCP", "adrfam": "ipv4", "traddr": "127.0.0.1", "trsvcid": port, "subnqn": x.nqn, "hostnqn": rawHostNQN,
	}, nil)
	return x
}

// add exports an lvol and waits until the source sees it.
func (x *export) add(nsid int, lvol string) (bdev string) {
	bdev = fmt.Sprintf("%sn%d", rawController, nsid)
	x.destination.call("nvmf_subsystem_add_ns", spdktypes.NvmfSubsystemAddNsRequest{
		Nqn: x.nqn, Namespace: spdktypes.NvmfSubsystemNamespace{Nsid: uint32(nsid), BdevName: lvol, Nguid: fmt.Sprintf("%032x", nsid)},
	}, nil)
	for x.source.try("bdev_get_bdevs", spdktypes.BdevGetBdevsRequest{Name: bdev}, nil) != nil {
	}
	return bdev
}

func (x *export) close() {
	x.source.call("bdev_nvme_detach_controller", spdktypes.BdevNvmeDetachControllerRequest{Name: rawController}, nil)
	x.destination.call("nvmf_delete_subsystem", spdktypes.NvmfDeleteSubsystemRequest{Nqn: x.nqn}, nil)
}

func freePort(t *testing.T) string {
	t.Helper()
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = probe.Close() }()
	_, port, err := net.SplitHostPort(probe.Addr().String())
	require.NoError(t, err)
	return port
}

// copyOf is the progress of a shallow copy.
type copyOf struct {
	State string `json:"state"`
}

// startCopy starts a copy and returns the time. A new namespace may not be writable for a
// moment; then it retries.
func (w *wire) startCopy(snapshot, bdev string) (operation uint32, began time.Time) {
	for {
		var started spdktypes.ShallowCopy
		began = time.Now()
		err := w.try("bdev_lvol_start_shallow_copy", spdktypes.BdevLvolShallowCopyRequest{SrcLvolName: snapshot, DstBdevName: bdev}, &started)
		if err == nil {
			return started.OperationId, began
		}
		require.ErrorContains(w.t, err, "Operation not permitted")
	}
}

func (w *wire) copied(operation uint32) bool {
	var now copyOf
	w.call("bdev_lvol_check_shallow_copy", map[string]any{"operation_id": operation}, &now)
	require.NotEqual(w.t, "error", now.State)
	return now.State == "complete"
}

func (w *wire) createLvol(lvstore, name string, clusters int) (uuid string) {
	w.call("bdev_lvol_create", spdktypes.BdevLvolCreateRequest{LvsName: lvstore, LvolName: name, SizeInMib: uint64(clusters), ThinProvision: true}, &uuid)
	return uuid
}

// copyRaw copies the snapshots, one after the other, into lvols that exist and are exported
// already. Its time is the sum of the copies alone.
func copyRaw(t *testing.T, s shape, from *targettest.Target, _ string, to *targettest.Target, snapshots []string) (took time.Duration) {
	t.Helper()
	lvstore := to.NewStore(t, s.room())
	source, destination := dial(t, from.Socket), dial(t, to.Socket)
	bdevs := make([]string, len(snapshots))
	for i := range bdevs {
		bdevs[i] = destination.createLvol(lvstore, fmt.Sprint("raw-", i), s.clusters)
	}
	if from != to {
		x := exportRaw(t, source, destination)
		defer x.close()
		for i := range bdevs {
			bdevs[i] = x.add(i+1, bdevs[i])
		}
	}
	for i, snapshot := range snapshots {
		operation, began := source.startCopy(snapshot, bdevs[i])
		for !source.copied(operation) {
		}
		took += time.Since(began)
	}
	return took
}
