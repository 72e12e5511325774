package spdk

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
)

var update = flag.Bool("update", false, "record testdata/longhorn.json anew, from a real target of the Longhorn branch")

const longhornFixture = "testdata/longhorn.json"

// recording is what a target of the Longhorn branch answers of a store that its
// engine has worked on.
type recording struct {
	Methods  json.RawMessage              `json:"rpc_get_methods"`
	Lvstores json.RawMessage              `json:"bdev_lvol_get_lvstores"`
	Lvols    json.RawMessage              `json:"bdev_lvol_get_lvols"`
	Bdevs    json.RawMessage              `json:"bdev_get_bdevs"`
	Xattrs   map[string]map[string]string `json:"bdev_lvol_get_xattr"` // by UUID and name; what is missing is -32603
}

var recordedXattrs = []string{xattrUserCreated, xattrTimestamp, xattrImageChecksum, xattrImageUUID, xattrImageState, xattrRecord}

// TestRecordLonghornStore makes the store on a real target, and looks that it is
// read there as from the recording.
func TestRecordLonghornStore(t *testing.T) {
	for _, binary := range targettest.Binaries(t) {
		target := targettest.Start(t, binary)
		var methods []string
		target.Call(t, "rpc_get_methods", nil, &methods)
		if !rpc.NewCapabilities(methods).Records {
			continue // upstream: Longhorn's engine does not run on it
		}
		store := targettest.MakeLonghornStore(t, target)
		h := open(t, target.Socket, store)
		requireLonghornRead(t, h)
		if !*update {
			return
		}
		r := recording{Xattrs: make(map[string]map[string]string)}
		target.Call(t, "rpc_get_methods", nil, &r.Methods)
		target.Call(t, "bdev_lvol_get_lvstores", nil, &r.Lvstores)
		target.Call(t, "bdev_lvol_get_lvols", nil, &r.Lvols)
		target.Call(t, "bdev_get_bdevs", nil, &r.Bdevs)
		var lvols []spdktypes.LvolInfo
		require.NoError(t, json.Unmarshal(r.Lvols, &lvols))
		for _, l := range lvols {
			for _, name := range recordedXattrs {
				var value string
				if target.Try("bdev_lvol_get_xattr", spdktypes.BdevLvolGetXattrRequest{Name: l.UUID, XattrName: name}, &value) == nil {
					if r.Xattrs[l.UUID] == nil {
						r.Xattrs[l.UUID] = make(map[string]string)
					}
					r.Xattrs[l.UUID][name] = value
				}
			}
		}
		text, err := json.MarshalIndent(r, "", " ")
		require.NoError(t, err)
		// The directory of the disk is that of one run.
		text = []byte(strings.ReplaceAll(string(text), directoryOf(target.Socket), "/disks"))
		require.NoError(t, os.WriteFile(longhornFixture, append(text, '\n'), 0o600))
		return
	}
	t.Log("no target of the Longhorn branch is among those that were found")
}

func directoryOf(socket string) string { return socket[:strings.LastIndex(socket, "/")] }

// TestLonghornStoreIsRead reads the recording.
func TestLonghornStoreIsRead(t *testing.T) {
	requireLonghornRead(t, replay(t))
}

// replay is a host on a target that answers from the recording, and changes
// nothing.
func replay(t *testing.T) *Host {
	t.Helper()
	text, err := os.ReadFile(longhornFixture)
	require.NoError(t, err)
	var r recording
	require.NoError(t, json.Unmarshal(text, &r))
	var stores []spdktypes.LvstoreInfo
	require.NoError(t, json.Unmarshal(r.Lvstores, &stores))
	socket := targettest.Serve(t, func(conn net.Conn, in *json.Decoder) {
		for {
			var call targettest.Request
			if in.Decode(&call) != nil {
				return
			}
			switch call.Method {
			case "rpc_get_methods":
				targettest.Reply(conn, call.ID, string(r.Methods))
			case "bdev_lvol_get_lvstores":
				targettest.Reply(conn, call.ID, string(r.Lvstores))
			case "bdev_lvol_get_lvols":
				targettest.Reply(conn, call.ID, string(r.Lvols))
			case "bdev_get_bdevs":
				targettest.Reply(conn, call.ID, string(r.Bdevs))
			case "bdev_lvol_get_xattr":
				var asked spdktypes.BdevLvolGetXattrRequest
				_ = json.Unmarshal(call.Params, &asked)
				if value, ok := r.Xattrs[asked.Name][asked.XattrName]; ok {
					targettest.Reply(conn, call.ID, fmt.Sprintf("%q", value))
				} else {
					_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,"error":{"code":-32603,"message":"No such file or directory"}}`, call.ID)
				}
			default:
				_, _ = fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%d,"error":{"code":-32601,"message":"Method not found"}}`, call.ID)
			}
		}
	})
	h, err := Open(t.Context(), Config{Socket: socket, Lvstore: stores[0].Name, Timeout: time.Minute, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// requireLonghornRead: each replica has what is its own and nothing else.
func requireLonghornRead(t *testing.T, h *Host) {
	t.Helper()
	store, err := h.List(t.Context())
	require.NoError(t, err)
	oldest, second, system := targettest.LonghornSnapshots[0], targettest.LonghornSnapshots[1], targettest.LonghornSnapshots[2]

	ubuntu, ok := store.BackingImage("ubuntu")
	require.True(t, ok)
	require.Equal(t, domain.ImageRecord{UUID: "b1b2b3b4", Checksum: "c0ffee-ubuntu"}, ubuntu.Lvol.Image)
	broken, ok := store.BackingImage("broken")
	require.True(t, ok)
	require.Equal(t, "failed", broken.Lvol.Image.Unready)
	_, ok = store.BackingImage("debian")
	require.False(t, ok, "it is downloaded")

	onImage := domain.ImageBase("ubuntu").Parent()
	for _, whole := range []string{targettest.LonghornWhole, targettest.LonghornLookLike, targettest.LonghornHurt} {
		r, err := domain.NewReplica(store, whole)
		require.NoError(t, err, whole)
		tree, err := domain.NewSnapshotTree(r)
		require.NoError(t, err, whole)
		var names []string
		for _, s := range tree.Snapshots() {
			names = append(names, s.Name)
		}
		require.Equal(t, []string{oldest, second, system}, names, whole)
		require.Empty(t, r.InFlight)
		ancestor, _ := tree.Ancestor()
		if whole == targettest.LonghornHurt {
			require.True(t, r.ParentOf(ancestor.Lvol).IsNone())
			require.True(t, r.Hurt(domain.ImageBase("ubuntu")))
		} else {
			require.Equal(t, onImage, r.ParentOf(ancestor.Lvol))
		}
		taken, _ := r.Snapshot(second)
		require.Equal(t, domain.Attributes{CreatedAt: time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC), UserCreated: true}, taken.Lvol.Attributes)
		taken, _ = r.Snapshot(system)
		require.Equal(t, domain.Attributes{CreatedAt: time.Date(2026, 1, 1, 0, 2, 0, 0, time.UTC)}, taken.Lvol.Attributes)
		parent, _ := r.ParentOf(taken.Lvol).Snapshot()
		require.Equal(t, oldest, parent, "after a revert")
	}

	rebuilt, err := domain.NewReplica(store, targettest.LonghornRebuilt)
	require.NoError(t, err)
	require.Len(t, rebuilt.Snapshots, 2)
	require.Len(t, rebuilt.InFlight, 1)
	require.Equal(t, targettest.LonghornRebuilt+"-rebuilding", rebuilt.InFlight[0].Name)
	require.NotNil(t, rebuilt.Head)
	require.Zero(t, rebuilt.Head.Size, "it is degraded")

	clone, err := domain.NewReplica(store, targettest.LonghornClone)
	require.NoError(t, err)
	require.Len(t, clone.Snapshots, 1)
	require.Equal(t, domain.CloneBase("vol-1", oldest).Parent(), clone.ParentOf(clone.Snapshots[0].Lvol), "a linked clone")
	_, err = domain.NewSnapshotTree(clone)
	require.NoError(t, err)
	cloning, err := domain.NewReplica(store, targettest.LonghornCloning)
	require.NoError(t, err)
	require.Empty(t, cloning.InFlight, "what fills it is not a rebuild's")

	requireNothingForeignPlanned(t, store)
}

// requireNothingForeignPlanned: plans over each replica touch its own lvols alone,
// and one that a linked clone hangs on is not taken apart.
func requireNothingForeignPlanned(t *testing.T, store domain.Listing) {
	t.Helper()
	source, err := domain.NewReplica(store, targettest.LonghornLookLike)
	require.NoError(t, err)
	for _, name := range []string{targettest.LonghornRebuilt, targettest.LonghornHurt, targettest.LonghornWhole, "vol-1-r-99999999", "vol-1"} {
		all := domain.Options{Full: true, Overwrite: name}
		if name == targettest.LonghornWhole {
			requireEntryPointIsMoved(t, store, source, all)
			continue
		}
		destination, err := domain.NewDestination(store, name, source)
		require.NoError(t, err, name)
		plan, err := domain.PlanRebuild(source, destination, domain.ImageBase("ubuntu"), all)
		require.NoError(t, err, name)
		var own []string
		if destination.Head != nil {
			own = append(own, destination.Head.UUID)
		}
		for _, s := range destination.Snapshots {
			own = append(own, s.Lvol.UUID)
		}
		for _, l := range destination.InFlight {
			own = append(own, l.UUID)
		}
		deleted := 0
		for _, o := range plan.Operations {
			uuid, listed := o.Target.Listed()
			require.True(t, !listed || slices.Contains(own, uuid), "%s: %s of %s", name, o.Verb, o.Name)
			if o.Verb == domain.VerbDelete {
				deleted++
			}
		}
		require.Equal(t, len(own), deleted, "%s: all of it is copied anew", name)
	}
}

// requireEntryPointIsMoved: a snapshot that a linked clone reads through is replaced where
// snapshots can be renamed, and nothing else of the clone is touched; elsewhere it is refused.
func requireEntryPointIsMoved(t *testing.T, store domain.Listing, source domain.Replica, options domain.Options) {
	t.Helper()
	destination, err := domain.NewDestination(store, targettest.LonghornWhole, source)
	require.NoError(t, err)
	plan, err := domain.PlanRebuild(source, destination, domain.ImageBase("ubuntu"), options)
	require.NoError(t, err)
	moved := slices.IndexFunc(plan.Steps, func(s domain.Step) bool { return s.Action == domain.ActionMoveEntryPoint })
	require.GreaterOrEqual(t, moved, 0)
	require.Contains(t, plan.Steps[moved].Snapshot, "-clone-ep-")

	store.RenamesSnapshots = false
	destination, err = domain.NewDestination(store, targettest.LonghornWhole, source)
	require.NoError(t, err)
	_, err = domain.PlanRebuild(source, destination, domain.ImageBase("ubuntu"), options)
	refusal := (*domain.Refusal)(nil)
	require.ErrorAs(t, err, &refusal)
	require.ErrorContains(t, err, "-clone-ep-")
}
