package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/scenario"
	"github.com/rootgraft/rebuild/memhost"
)

// twoHosts has a healthy replica of vol-1 on disk-1, and on disk-2 one that lost its
// image, beside other lvols.
const twoHosts = `
apiVersion: rebuild/v1
volume: {name: vol-1, size: 512KiB, clusterSize: 64KiB}
backingImage: {name: base, size: 256KiB, writes: [{offset: 0, length: 256KiB, seed: 1}]}
source:
  replica: vol-1-r-0a1b2c3d
  snapshots:
    - {name: snap11, writes: [{offset: 0, length: 64KiB, seed: 11}]}
    - {name: snap12, parent: snap11, writes: [{offset: 64KiB, length: 128KiB, seed: 12}]}
    - {name: snap21, parent: snap11, userCreated: false}
  head: {parent: snap12}
destination:
  replica: vol-1-r-4e5f6a7b
  freeClusters: 100
  snapshots:
    - {name: snap11, like: source, parent: none}
    - {name: snap12, like: source}
    - {name: snap21, like: source}
  head: {parent: snap12}
  lvols:
    - {name: vol-9-r-1-snap-a, snapshot: true, size: 256KiB, writes: [{offset: 0, length: 64KiB, seed: 9}]}
    - {name: vol-9-r-1-clone-ep-1, parent: vol-9-r-1-snap-a, size: 256KiB}
    - {name: vol-1-r-4e5f6a7b-rebuilding-0badcafe}
`

const (
	healthyAt = "unix:///a.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d"
	hurtAt    = "unix:///b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b"
	hostB     = "unix:///b.sock?lvs=disk-2"
)

// world is two hosts in memory, which commands open as /a.sock and /b.sock.
type world struct {
	t    *testing.T
	a, b *memhost.Host
	live *scenario.Live // nil: no volume
	// Input at the terminal; "": there is no terminal.
	typed string
}

func newWorld(t *testing.T, text string) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	file, err := scenario.Parse(path)
	require.NoError(t, err)
	built, err := file.Build()
	require.NoError(t, err)
	return &world{t: t, a: built.Source, b: built.Destination, live: built.Live}
}

// closing is a host in memory that can be closed.
type closing struct{ *memhost.Host }

func (closing) Close() error { return nil }

func (w *world) open(ctx context.Context, at address) (openedHost, error) {
	hosts := map[string]*memhost.Host{"/a.sock": w.a, "/b.sock": w.b}
	if w.live != nil {
		for i, m := range w.live.Members {
			hosts[fmt.Sprintf("/a%d.sock", i+1)] = m.Host
		}
	}
	host, ok := hosts[at.socket]
	if !ok {
		return nil, fmt.Errorf("open target %s: connect: no such file", at.socket)
	}
	store, err := host.List(ctx)
	if err != nil {
		return nil, err
	}
	if store.Name != at.lvstore {
		return nil, fmt.Errorf("open lvstore %s of target %s: not found; available: %s", at.lvstore, at.socket, store.Name)
	}
	return closing{host}, nil
}

// closingVolume is a mirror in memory that can be closed.
type closingVolume struct{ *memhost.Mirror }

func (closingVolume) Close() error                       { return nil }
func (closingVolume) CheckSuspend(context.Context) error { return nil }

func (w *world) openVolume(_ context.Context, at volumeAddress) (openedVolume, error) {
	if w.live == nil || at.socket != "/v.sock" || at.raid != "vol-1" {
		return nil, fmt.Errorf("open RAID %s of target %s: not found", at.raid, at.socket)
	}
	return closingVolume{w.live.Mirror}, nil
}

func (w *world) engine(args ...string) ran {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(w.t.Context(), args, &stdout, &stderr,
		fx.Replace(openers{w.open, w.openVolume}, confirmer{in: strings.NewReader(w.typed), terminal: w.typed != "", out: &stderr}))
	return ran{status, stdout.String(), stderr.String()}
}

// stores is everything on both hosts, with the data of every lvol.
func (w *world) stores() map[string]string {
	w.t.Helper()
	all := make(map[string]string)
	for _, host := range []*memhost.Host{w.a, w.b} {
		store, err := host.List(w.t.Context())
		require.NoError(w.t, err)
		for _, l := range store.Lvols {
			sum, err := host.ViewSHA256(l.UUID)
			require.NoError(w.t, err)
			all[store.Name+"/"+l.Name] = fmt.Sprint(l, sum)
		}
	}
	return all
}

func (w *world) replica(host *memhost.Host, name string) rebuild.Replica {
	w.t.Helper()
	store, err := host.List(w.t.Context())
	require.NoError(w.t, err)
	r, err := rebuild.NewReplica(store, name)
	require.NoError(w.t, err)
	return r
}

var (
	anyUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	anyNull = regexp.MustCompile(`"([a-zA-Z0-9]+)":null`)
	anyTook = regexp.MustCompile(`"durationMs": [0-9]+`)
	anyNow  = regexp.MustCompile(`"createdAt": "202[^6][^"]*"|"createdAt": "2026-[^0][^"]*"|"createdAt": "2026-0[^1][^"]*"`)
)

// requireGolden compares with a golden file, without what differs from run to run.
func requireGolden(t *testing.T, name, text string) {
	t.Helper()
	golden := filepath.Join("testdata", "golden", "commands", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(text), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err, "go test ./cmd/engine -update writes it")
	require.Equal(t, string(want), text)
}

// goldenJSON is an object on lines, without what differs from run to run.
func goldenJSON(t *testing.T, object string) string {
	t.Helper()
	var pretty bytes.Buffer
	require.NoError(t, json.Indent(&pretty, []byte(object), "", "  "))
	text := anyUUID.ReplaceAllString(pretty.String(), "UUID")
	text = anyTook.ReplaceAllString(text, `"durationMs": 0`)
	return anyNow.ReplaceAllString(text, `"createdAt": "NOW"`)
}

// Each command is run once for text and once for JSON.
func TestCommandOutput(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string
		status int
	}{
		{"tree", []string{"tree", hurtAt}, exitDone},
		{"tree-host", []string{"tree", hostB}, exitDone},
		{"tree-missing", []string{"tree", hostB + "&replica=nope"}, exitFailed},
		{"audit-clean", []string{"audit", healthyAt}, exitDone},
		{"audit-host", []string{"audit", hostB}, exitFailed},
		{"audit-compared", []string{"audit", healthyAt, hurtAt}, exitFailed},
		{"repair-dry-run", []string{"repair", hurtAt, "--compare", healthyAt, "--dry-run"}, exitDone},
		{"repair", []string{"repair", hurtAt, "--image", "base"}, exitDone},
		{"repair-compared", []string{"repair", hurtAt, "--compare", healthyAt}, exitDone},
		{"repair-refused", []string{"repair", hurtAt, "--no-image", "--compare", healthyAt}, exitFailed},
		{"replica-create", []string{"replica", "create", hostB + "&replica=vol-2-r-1", "--size", "8MiB", "--image", "base"}, exitDone},
		{"replica-create-refused", []string{"replica", "create", hurtAt, "--size", "8MiB", "--no-image"}, exitFailed},
		{"replica-list", []string{"replica", "list", hostB}, exitDone},
		{"replica-delete", []string{"replica", "delete", hurtAt, "--confirm", "vol-1-r-4e5f6a7b"}, exitDone},
		{"replica-delete-refused", []string{"replica", "delete", hostB + "&replica=vol-9-r-1", "--confirm", "vol-9-r-1"}, exitFailed},
		{"gc", []string{"gc", hostB}, exitDone},
		{"gc-yes", []string{"gc", hostB, "--yes"}, exitDone},
		{"snapshot-create", []string{"snapshot", "create", healthyAt, "later"}, exitDone},
		{"snapshot-list", []string{"snapshot", "list", healthyAt}, exitDone},
		{"snapshot-delete", []string{"snapshot", "delete", healthyAt, "snap12", "--confirm", "snap12"}, exitDone},
		{"snapshot-delete-refused", []string{"snapshot", "delete", healthyAt, "snap11", "--confirm", "snap11"}, exitFailed},
		{"snapshot-revert", []string{"snapshot", "revert", healthyAt, "snap11", "--confirm", "snap11"}, exitDone},
		{"in-use-tree", []string{"tree", hurtAt}, exitDone},
		{"in-use-replica-list", []string{"replica", "list", hostB}, exitDone},
		{"in-use-snapshot-create-refused", []string{"snapshot", "create", hurtAt, "before-upgrade"}, exitFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			begin := func() *world {
				w := newWorld(t, twoHosts)
				if strings.HasPrefix(test.name, "in-use-") {
					head := w.replica(w.b, "vol-1-r-4e5f6a7b").Head.UUID
					require.NoError(t, w.b.Use(head, rebuild.User{Kind: rebuild.UserExport, Name: "nqn.2023-01.io.longhorn.spdk:vol-1-r-4e5f6a7b"}))
				}
				return w
			}
			w := begin()
			before := w.stores()
			told := w.engine(test.args...)
			require.Equal(t, test.status, told.status, "%s", told.stderr)
			if told.stdout == "" {
				require.Equal(t, 1, strings.Count(told.stderr, "\n"), "%q", told.stderr)
			}
			for n, line := range strings.Split(told.stdout, "\n") {
				require.Equal(t, strings.TrimRight(line, " "), line, "line %d ends in spaces", n+1)
			}
			requireGolden(t, test.name+".txt", anyUUID.ReplaceAllString(told.stdout+told.stderr, "UUID"))
			if strings.HasSuffix(test.name, "refused") || strings.HasSuffix(test.name, "missing") {
				require.Equal(t, before, w.stores(), "refused, and yet something changed")
			}

			w = begin()
			asJSON := w.engine(append(test.args, "--output", "json")...)
			require.Equal(t, test.status, asJSON.status)
			require.Empty(t, asJSON.stderr)
			require.Equal(t, 1, strings.Count(asJSON.stdout, "\n"), "one object on one line")
			for _, empty := range anyNull.FindAllStringSubmatch(asJSON.stdout, -1) {
				require.Contains(t, []string{"head", "replica", "snapshot"}, empty[1], "lists are never null")
			}
			requireGolden(t, test.name+".json", goldenJSON(t, asJSON.stdout))
			var printed map[string]any
			require.NoError(t, json.Unmarshal([]byte(asJSON.stdout), &printed))
			require.Equal(t, "rebuild/v1", printed["apiVersion"])
			require.Equal(t, printed["outcome"] == "complete", printed["error"] == "")
		})
	}
}

// The audit finds the replica that lost its image, the repair copies no data, and the
// next audit finds nothing.
func TestField_10909_FromAuditToRepairByCommands(t *testing.T) {
	w := newWorld(t, twoHosts)
	require.Equal(t, exitFailed, w.engine("audit", healthyAt, hurtAt).status)
	require.Equal(t, exitDone, w.engine("repair", hurtAt, "--compare", healthyAt).status)
	told := w.engine("audit", healthyAt, hurtAt)
	require.Equal(t, exitDone, told.status, told.stdout)
	require.Contains(t, told.stdout, "no difference")
	require.Equal(t, exitDone, w.engine("audit", healthyAt, hurtAt, "--verify", "counts").status)
	require.Zero(t, w.a.Sent()+w.b.Sent()+w.a.CopiedLocally()+w.b.CopiedLocally())
	hurt := w.replica(w.b, "vol-1-r-4e5f6a7b")
	ancestor, _ := hurt.Snapshot("snap11")
	require.Equal(t, "backing-image:base", hurt.ParentOf(ancestor.Lvol).String())
}

func TestRepairReportsInFlightLvolWithData(t *testing.T) {
	w := newWorld(t, strings.Replace(twoHosts, "{name: vol-1-r-4e5f6a7b-rebuilding-0badcafe}", "{name: vol-1-r-4e5f6a7b-rebuilding-0badcafe, writes: [{offset: 0, length: 64KiB, seed: 3}]}", 1))
	told := w.engine("repair", hurtAt, "--image", "base")
	require.Equal(t, exitFailed, told.status)
	require.Contains(t, told.stdout, "lineage is restored")
	require.Contains(t, told.stdout, "still wrong: vol-1-r-4e5f6a7b-rebuilding-0badcafe: in-flight")
}

func TestDeletionNeedsConfirmation(t *testing.T) {
	for what, args := range map[string][]string{
		"vol-1-r-4e5f6a7b": {"replica", "delete", hurtAt},
		"snap12":           {"snapshot", "delete", hurtAt, "snap12"},
		"snap11":           {"snapshot", "revert", hurtAt, "snap11"},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) {
			w := newWorld(t, twoHosts)
			before := w.stores()
			requireShortLine(t, w.engine(args...), exitUsage, "--confirm "+what)
			requireShortLine(t, w.engine(append(args, "--output", "json")...), exitUsage, "--confirm "+what)
			for _, wrong := range []string{"", "vol-1", what + " ", "y", "yes"} {
				requireShortLine(t, w.engine(append(args, "--confirm", wrong)...), exitUsage, what, "nothing was changed")
			}
			w.typed = "yes\n"
			told := w.engine(args...)
			require.Equal(t, exitUsage, told.status)
			require.Contains(t, told.stderr, "Type its name to continue: ")
			require.Equal(t, before, w.stores())

			w.typed = what + "\n"
			told = w.engine(args...)
			require.Equal(t, exitDone, told.status, told.stderr)
			require.NotEqual(t, before, w.stores())
		})
	}
}

func TestBadInputIsOneLineAndChangesNothing(t *testing.T) {
	w := newWorld(t, twoHosts)
	before := w.stores()
	long, longer := strings.Repeat("n", 64), strings.Repeat("n", 300)
	replica := func(name string) string { return hostB + "&replica=" + name }
	for _, test := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"a command of replica that is none", []string{"replica", "dance"}, exitUsage, "create, delete, list"},
		{"a command of snapshot that is none", []string{"snapshot", "dance"}, exitUsage, "create, delete, list, revert"},
		{"a tree of nothing", []string{"tree"}, exitUsage, "ADDRESS"},
		{"an audit of nothing", []string{"audit"}, exitUsage, "expected an address"},
		{"an empty address", []string{"tree", ""}, exitUsage, "ADDRESS is empty"},
		{"an address that is a path", []string{"tree", "/var/tmp/spdk.sock"}, exitUsage, addressForm},
		{"an unknown key", []string{"audit", hurtAt + "&lsv=x"}, exitUsage, `unknown key "lsv"`},
		{"a host without lvs", []string{"tree", "unix:///b.sock"}, exitUsage, "lvs is required"},
		{"a repair of a host", []string{"repair", hostB}, exitUsage, "lvs and replica are required"},
		{"a list of a replica", []string{"replica", "list", hurtAt}, exitUsage, "without replica"},
		{"an image of a whole host", []string{"audit", hostB, "--image", "base"}, exitUsage, "must name a replica"},
		{"an image and none", []string{"repair", hurtAt, "--image", "base", "--no-image"}, exitUsage, "got both"},
		{"a target that is not there", []string{"tree", "unix:///nowhere.sock?lvs=disk-1"}, exitFailed, "/nowhere.sock"},
		{"an lvstore that is not there", []string{"tree", "unix:///b.sock?lvs=disk-9"}, exitFailed, "available: disk-2"},
		{"a replica that is not there", []string{"snapshot", "list", replica("nope")}, exitFailed, "replica nope not found on lvstore disk-2"},
		{"an audit of one that is not there", []string{"audit", replica("nope")}, exitFailed, "replica nope not found"},
		{"a repair of one that is not there", []string{"repair", replica("nope"), "--no-image"}, exitFailed, "replica nope not found"},
		{"a deletion of one that is not there", []string{"replica", "delete", replica("nope"), "--confirm", "nope"}, exitFailed, "replica nope not found"},
		{"a replica that is half there", []string{"snapshot", "create", replica("vol-9-r-1"), "s"}, exitFailed, "no head"},
		{"a repair of half a replica", []string{"repair", replica("vol-9-r-1"), "--no-image"}, exitFailed, "no head"},
		{"a revert of half a replica", []string{"snapshot", "revert", replica("vol-9-r-1"), "a", "--confirm", "a"}, exitFailed, "give the size"},
		{"a comparison with nothing", []string{"repair", hurtAt, "--compare", ""}, exitUsage, "--compare is missing"},
		{"a comparison with itself", []string{"repair", hurtAt, "--compare", hurtAt}, exitFailed, "with itself"},
		{"a snapshot that is not there", []string{"snapshot", "delete", hurtAt, "nope", "--confirm", "nope"}, exitFailed, "available: snap11, snap12, snap21"},
		{"a snapshot that is there", []string{"snapshot", "create", hurtAt, "snap11"}, exitFailed, "already"},
		{"a replica with a slash", []string{"tree", replica("a/b")}, exitUsage, `"a/b"`},
		{"a replica with a space", []string{"tree", replica("a%20b")}, exitUsage, `"a b"`},
		{"a replica in unicode", []string{"tree", replica("völ")}, exitUsage, "völ"},
		{"a replica of 64 characters", []string{"tree", replica(long)}, exitFailed, "replica " + long + " not found"},
		{"a new replica of 300 characters", []string{"replica", "create", replica(longer), "--size", "8MiB", "--no-image"}, exitFailed, "at most 255"},
		{"a snapshot with a slash", []string{"snapshot", "create", hurtAt, "a/b"}, exitUsage, `"a/b"`},
		{"a snapshot with a space", []string{"snapshot", "create", hurtAt, "a b"}, exitUsage, `"a b"`},
		{"a snapshot in unicode", []string{"snapshot", "create", hurtAt, "ä"}, exitUsage, "ä"},
		{"a snapshot of 300 characters", []string{"snapshot", "create", hurtAt, longer}, exitFailed, "at most 255"},
		{"a snapshot in flight", []string{"snapshot", "create", hurtAt, "a-rebuilding"}, exitUsage, "-rebuilding"},
		{"a snapshot named none", []string{"snapshot", "create", hurtAt, "none"}, exitUsage, `snapshot name "none"`},
		{"a deletion of no name", []string{"snapshot", "delete", hurtAt, ""}, exitUsage, "NAME is empty"},
		{"no size", []string{"replica", "create", replica("new"), "--no-image"}, exitUsage, "--size is required"},
		{"a size that is none", []string{"replica", "create", replica("new"), "--no-image", "--size", "big"}, exitUsage, "16MiB"},
		{"a size of nothing", []string{"replica", "create", replica("new"), "--no-image", "--size", "0"}, exitUsage, "16MiB"},
		{"a size that is too large for a number", []string{"replica", "create", replica("new"), "--no-image", "--size", "99999999999TiB"}, exitUsage, "16MiB"},
		{"half a cluster", []string{"replica", "create", replica("new"), "--no-image", "--size", "1KiB"}, exitFailed, "multiple"},
		{"nothing said of the base", []string{"replica", "create", replica("new"), "--size", "8MiB"}, exitUsage, "--base BASE, --image NAME or --no-image"},
		{"a base of a whole host", []string{"audit", hostB, "--base", "clone:vol-9@daily"}, exitUsage, "must name a replica"},
		{"an image that is not there", []string{"replica", "create", replica("new"), "--size", "8MiB", "--image", "nope"}, exitFailed, "nope is not on lvstore disk-2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			told := w.engine(test.args...)
			requireOneLine(t, told, test.status, test.says)
			require.Equal(t, before, w.stores())
		})
	}
}

// requireOneLine checks that the error, of any length, is one line on stderr.
func requireOneLine(t *testing.T, r ran, status int, parts ...string) {
	t.Helper()
	require.Equal(t, status, r.status, "%s", r.stderr)
	require.Empty(t, r.stdout)
	require.Equal(t, 1, strings.Count(r.stderr, "\n"), "%q", r.stderr)
	require.True(t, strings.HasPrefix(r.stderr, "engine: "), "%q", r.stderr)
	for _, part := range parts {
		require.Contains(t, r.stderr, part)
	}
}

func TestAuditOfHostWithoutReplicas(t *testing.T) {
	w := newWorld(t, twoHosts)
	w.b = memhost.NewFabric().NewHost(memhost.Config{Name: "disk-2"})
	told := w.engine("audit", hostB)
	require.Equal(t, exitDone, told.status)
	require.Equal(t, "no replicas\n", told.stdout)
}

func TestAuditOfHostsComparesReplicasOfOneVolume(t *testing.T) {
	w := newWorld(t, twoHosts)
	told := w.engine("audit", hostB, "unix:///a.sock?lvs=disk-1", hostB)
	require.Equal(t, exitFailed, told.status)
	require.Contains(t, told.stdout, "no difference between the replicas")
	require.Equal(t, 1, strings.Count(told.stdout, "vol-1-r-4e5f6a7b on disk-2"), "a host that is given twice is one")
}

// circle is a host that lists two snapshots as each other's parent, which SPDK does when
// it is asked to.
type circle struct{ closing }

func (c circle) List(ctx context.Context) (rebuild.Listing, error) {
	store, err := c.Host.List(ctx)
	for i, l := range store.Lvols {
		if l.Name == "vol-1-r-4e5f6a7b-snap-snap11" {
			for _, other := range store.Lvols {
				if other.Name == "vol-1-r-4e5f6a7b-snap-snap12" {
					store.Lvols[i].Parent = other.UUID
				}
			}
		}
	}
	return store, err
}

func TestCycleOfParentsIsReportedAndLeftAlone(t *testing.T) {
	w := newWorld(t, twoHosts)
	before := w.stores()
	for _, args := range [][]string{
		{"tree", hostB},
		{"audit", hostB},
		{"audit", hurtAt},
		{"repair", hurtAt, "--image", "base"},
		{"replica", "list", hostB},
		{"replica", "delete", hurtAt, "--confirm", "vol-1-r-4e5f6a7b"},
		{"replica", "create", hostB + "&replica=new", "--size", "8MiB", "--no-image"},
		{"snapshot", "delete", hurtAt, "snap12", "--confirm", "snap12"},
		{"snapshot", "create", hurtAt, "s"},
		{"snapshot", "revert", hurtAt, "snap11", "--confirm", "snap11"},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), args, &stdout, &stderr, fx.Replace(openers{open: func(context.Context, address) (openedHost, error) {
				return circle{closing{w.b}}, nil
			}}))
			requireShortLine(t, ran{status, stdout.String(), stderr.String()}, exitFailed, "lvstore disk-2", "cycle")
			require.Equal(t, before, w.stores())
		})
	}
}

var _ rebuild.Host = circle{}

func TestAuditReportsAmbiguousReplica(t *testing.T) {
	w := newWorld(t, strings.Replace(twoHosts, "    - {name: vol-1-r-4e5f6a7b-rebuilding-0badcafe}\n", "    - {name: vol-8-snap-x-snap-y, snapshot: true}\n    - {name: vol-8-snap-a, snapshot: true}\n    - {name: vol-8-snap-x}\n    - {name: vol-8-snap-x-snap-z, snapshot: true, parent: vol-8-snap-x-rebuilding}\n    - {name: vol-8-snap-x-rebuilding, snapshot: true}\n", 1))
	told := w.engine("audit", hostB)
	require.Equal(t, exitFailed, told.status)
	require.Contains(t, told.stdout, "rename or delete it by hand")
}

// An earlier version accepted such a name.
func TestSnapshotNamedNoneCanBeDeleted(t *testing.T) {
	w := newWorld(t, twoHosts)
	head := w.replica(w.a, "vol-1-r-0a1b2c3d").Head
	_, err := w.a.Snapshot(t.Context(), head.UUID, rebuild.SnapshotLvolName("vol-1-r-0a1b2c3d", "none"), rebuild.Attributes{})
	require.NoError(t, err)
	require.Contains(t, w.engine("tree", healthyAt).stdout, "none")
	told := w.engine("snapshot", "delete", healthyAt, "none", "--confirm", "none")
	require.Equal(t, exitDone, told.status, told.stderr)
	require.NotContains(t, w.engine("tree", healthyAt).stdout, "none")
}

// The reason goes to stderr, beside the output.
func TestCommandReportsWaiting(t *testing.T) {
	for _, output := range []string{"text", "json"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, twoHosts)
			end := time.Now().Add(10 * time.Second)
			busy := func(c memhost.Call) memhost.Fault {
				if (c.Method == "snapshot" || c.Method == "graft") && time.Now().Before(end) {
					return memhost.Fault{Before: rebuild.ErrBusy}
				}
				return memhost.Fault{}
			}
			w.a.Inject(busy)
			w.b.Inject(busy)
			told := w.engine("snapshot", "create", healthyAt, "later", "--output", output)
			require.Equal(t, exitDone, told.status)
			require.Regexp(t, `^engine: waiting for [23]s now: .*vol-1-r-0a1b2c3d.*busy\n$`, told.stderr)

			end = time.Now().Add(10 * time.Second)
			told = w.engine("rebuild", "--source", healthyAt, "--destination", hurtAt, "--output", output)
			require.Equal(t, exitDone, told.status, told.stderr)
			if output == "text" {
				require.Regexp(t, `\n  waiting  for [23]s now: .*busy\n`, told.stdout)
				require.Empty(t, told.stderr)
			} else {
				require.Regexp(t, `^engine: waiting for [23]s now: .*busy\n$`, told.stderr)
			}
		})
	}
}
