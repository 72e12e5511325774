package facts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// verbs are what takes more than one call, or none.
var verbs = map[string]func(s *player, at *side, args []string) *answer{
	"write": write, "trim": trim, "fill": fill, "view": view, "show": show, "lvol": listed, "names": names, "free": free,
	"restart": restart, "kill": kill, "file": file, "aio": aio,
	"start": start, "check": checkOnce, "await": await, "copy": copyWhole,
	"listen": listen, "attach": attach, "settle": settle, "bases": bases, "dropped": dropped,
	"load": load, "unload": unload,
}

// rewrites are short forms of one call: $1, $2 … are what follows.
var rewrites = map[string]string{
	"create":     "bdev_lvol_create lvs_name=STORE lvol_name=$1 size_in_mib=$2 thin_provision=true",
	"thick":      "bdev_lvol_create lvs_name=STORE lvol_name=$1 size_in_mib=$2",
	"snapshot":   "bdev_lvol_snapshot lvol_name=@$1 snapshot_name=$2",
	"clone":      "bdev_lvol_clone snapshot_name=@$1 clone_name=$2",
	"rename":     "bdev_lvol_rename old_name=@$1 new_name=$2",
	"resize":     "bdev_lvol_resize name=@$1 size_in_mib=$2",
	"delete":     "bdev_lvol_delete name=@$1",
	"set_parent": "bdev_lvol_set_parent lvol_name=@$1 parent_name=@$2",
	"detach":     "bdev_lvol_detach_parent name=@$1",
	"decouple":   "bdev_lvol_decouple_parent name=@$1",
	"inflate":    "bdev_lvol_inflate name=@$1",
	"set_xattr":  "bdev_lvol_set_xattr name=@$1 xattr_name=$2 xattr_value=$3",
	"get_xattr":  "bdev_lvol_get_xattr name=@$1 xattr_name=$2",
	"map":        "bdev_lvol_get_fragmap name=@$1 offset=0 size=0",
	"register":   "bdev_lvol_register_snapshot_checksum name=@$1",
	"checksum":   "bdev_lvol_get_snapshot_checksum name=@$1",
	"limit":      "bdev_set_qos_limit name=@$1 rw_mbytes_per_sec=$2",
	"get":        "bdev_get_bdevs name=$1",
	"subsystem":  "nvmf_create_subsystem nqn=$1 allow_any_host=true",
	"drop":       "nvmf_delete_subsystem nqn=$1",
	"export":     `nvmf_subsystem_add_ns nqn=$1 namespace={"bdev_name":"@$2","nsid":$3,"nguid":"$4"}`,
	"withdraw":   "nvmf_subsystem_remove_ns nqn=$1 nsid=$2",
	"raid":       `bdev_raid_create name=$1 raid_level=raid1 base_bdevs=["$2","$3"]`,
	"unattach":   "bdev_nvme_detach_controller name=$1",
	"grow":       "bdev_raid_grow_base_bdev raid_name=$1 base_name=$2",
	"ungrow":     "bdev_raid_remove_base_bdev name=$1",
	"external":   "bdev_lvol_clone_bdev bdev=$1 lvs_name=STORE clone_name=$2",
	"cut":        `nvmf_create_subsystem nqn=$1 allow_any_host=true min_cntlid=$2 max_cntlid=${2}99`,
	"serve":      `nvmf_subsystem_add_ns nqn=$1 namespace={"bdev_name":"$2","nsid":1,"nguid":"$3","uuid":"6c1e3c5a-1111-4222-8333-444455556666"}`,
	"ana":        `nvmf_subsystem_listener_set_ana_state nqn=$1 listen_address={"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":"PORT"} ana_state=$2`,
}

// rewrite puts a short form's whole form.
func rewrite(fields []string) []string {
	whole, ok := rewrites[fields[0]]
	if !ok {
		return fields
	}
	written := strings.Fields(whole)
	for i, arg := range fields[1:] {
		for j := range written {
			written[j] = strings.ReplaceAll(strings.ReplaceAll(written[j], "$"+strconv.Itoa(i+1), arg), "${"+strconv.Itoa(i+1)+"}", arg)
		}
	}
	return written
}

// one does one call by itself.
func (s *player) one(at *side, method string, params map[string]any) *answer {
	return s.ask(at, []call{{method: method, params: params}})[0]
}

// bdev is the entry of bdev_get_bdevs, or the refusal.
func (s *player) bdev(at *side, name string) (map[string]any, *answer) {
	got := s.one(at, "bdev_get_bdevs", map[string]any{"name": at.names(name)})
	if got.failed != "" {
		return nil, got
	}
	return got.result.([]any)[0].(map[string]any), nil
}

// volume is how a bdev is found by what a fact calls it: an lvol, or ~x for another one.
func volume(name string) string {
	if strings.HasPrefix(name, "~") {
		return name
	}
	return "@" + name
}

// write LVOL CLUSTER LETTER fills a cluster with that letter, 0 with zeros.
func write(s *player, at *side, args []string) *answer {
	b, failed := s.bdev(at, volume(args[0]))
	if failed != nil {
		return failed
	}
	i, err := strconv.Atoi(args[1])
	require.NoError(s.t, err)
	fill := args[2][0]
	if fill == '0' {
		fill = 0
	}
	at.target.Write(s.t, b["uuid"].(string), bytes.Repeat([]byte{fill}, targettest.ClusterSize), uint64(i)*targettest.ClusterSize)
	return &answer{}
}

// fill LVOL CLUSTERS LETTER fills the first ones with that letter.
func fill(s *player, at *side, args []string) *answer {
	n, err := strconv.Atoi(args[1])
	require.NoError(s.t, err)
	for i := range n {
		if failed := write(s, at, []string{args[0], strconv.Itoa(i), args[2]}); failed.failed != "" {
			return failed
		}
	}
	return &answer{}
}

// trim LVOL CLUSTER deallocates a cluster.
func trim(s *player, at *side, args []string) *answer {
	b, failed := s.bdev(at, volume(args[0]))
	if failed != nil {
		return failed
	}
	i, err := strconv.Atoi(args[1])
	require.NoError(s.t, err)
	at.target.Deallocate(s.t, b["uuid"].(string), uint64(i)*targettest.ClusterSize, targettest.ClusterSize)
	return &answer{}
}

// view LVOL is a letter for each cluster: what it is filled with, 0 for zeros, ? for
// something else, ! for what cannot be read.
func view(s *player, at *side, args []string) *answer {
	b, failed := s.bdev(at, volume(args[0]))
	if failed != nil {
		return failed
	}
	blocks, err := b["num_blocks"].(json.Number).Int64()
	require.NoError(s.t, err)
	seen := ""
	at.target.ReadEach(s.t, b["uuid"].(string), uint64(blocks)*4096/targettest.ClusterSize, func(content []byte, err error) {
		switch letter := content[0]; {
		case err != nil:
			seen += "!"
		case !bytes.Equal(content, bytes.Repeat(content[:1], len(content))):
			seen += "?"
		case letter == 0:
			seen += "0"
		default:
			seen += string(letter)
		}
	})
	return &answer{result: seen}
}

// show NAME is a bdev with what its driver says of it, in one object. write says
// whether it can be written.
func show(s *player, at *side, args []string) *answer {
	b, failed := s.bdev(at, args[0])
	if failed != nil {
		return failed
	}
	if driver, ok := b["driver_specific"].(map[string]any)["lvol"].(map[string]any); ok {
		for key, value := range driver {
			b[key] = value
		}
	}
	if clones, ok := b["clones"].([]any); ok {
		slices.SortFunc(clones, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	}
	b["write"] = b["supported_io_types"].(map[string]any)["write"]
	blocks, err := b["num_blocks"].(json.Number).Int64()
	require.NoError(s.t, err)
	b["clusters"] = blocks * 4096 / targettest.ClusterSize
	return &answer{result: b}
}

// lvols are the entries of bdev_lvol_get_lvols, by name.
func (s *player) lvols(at *side) map[string]any {
	got := s.one(at, "bdev_lvol_get_lvols", map[string]any{"lvs_name": at.store})
	require.Empty(s.t, got.failed, "%s", s.line)
	byName := make(map[string]any)
	for _, entry := range got.result.([]any) {
		byName[entry.(map[string]any)["name"].(string)] = entry
	}
	return byName
}

// lvol NAME is its entry in bdev_lvol_get_lvols.
func listed(s *player, at *side, args []string) *answer {
	entry, ok := s.lvols(at)[args[0]]
	require.True(s.t, ok, "%s: it is not listed", s.line)
	return &answer{result: entry}
}

// names are those in bdev_lvol_get_lvols, sorted.
func names(s *player, at *side, _ []string) *answer {
	found := []any{}
	for _, name := range slices.Sorted(maps.Keys(s.lvols(at))) {
		found = append(found, name)
	}
	return &answer{result: found}
}

// free is the number of free clusters.
func free(s *player, at *side, _ []string) *answer {
	got := s.one(at, "bdev_lvol_get_lvstores", map[string]any{"lvs_name": at.store})
	require.Empty(s.t, got.failed, "%s", s.line)
	return &answer{result: got.result.([]any)[0].(map[string]any)["free_clusters"]}
}

// restart kills the target, starts it again, and loads its stores.
func restart(s *player, at *side, _ []string) *answer {
	at.target.Restart(s.t)
	at.gone = false
	return &answer{}
}

// kill kills the target, which is started again when the fact is over.
func kill(s *player, at *side, _ []string) *answer {
	at.target.Kill(s.t)
	at.gone = true
	return &answer{}
}

// bases RAID are the names of its base bdevs that serve, empty slots as null.
func bases(s *player, at *side, args []string) *answer {
	got := s.one(at, "bdev_raid_get_bdevs", map[string]any{"category": "all"})
	require.Empty(s.t, got.failed, "%s", s.line)
	for _, one := range got.result.([]any) {
		raid := one.(map[string]any)
		if raid["name"] != at.names(args[0]) {
			continue
		}
		names := []any{}
		for _, base := range raid["base_bdevs_list"].([]any) {
			slot := base.(map[string]any)
			require.Equal(s.t, slot["name"] != nil, slot["is_configured"], "%s: %v", s.line, slot)
			names = append(names, slot["name"])
		}
		return &answer{result: names}
	}
	return &answer{failed: "-19 No such device"}
}

// dropped RAID BASE waits until the RAID has it no more: an I/O that fails is answered before.
func dropped(s *player, at *side, args []string) *answer {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		got := bases(s, at, args)
		if names, ok := got.result.([]any); !ok || !slices.Contains(names, any(at.names(args[1]))) {
			return got
		}
		require.True(s.t, time.Now().Before(deadline), "%s: it is not", s.line)
	}
}

// clientsOfLoad are enough that a read is on its way at most moments.
const clientsOfLoad = 8

// load NQN LETTER has clients read and write what the subsystem serves, which is filled with that
// letter. They write to its first two clusters alone, so that the others are read through to whatever is
// below for as long as they work.
func load(s *player, at *side, args []string) *answer {
	l, err := targettest.StartLoad(s.t.Context(), targettest.Volume{
		Address: net.JoinHostPort("127.0.0.1", at.port), NQN: at.names(args[0]), HostNQN: at.names("NQN-host"),
		Filled: args[1][0], Written: 2 * targettest.ClusterSize, Clients: clientsOfLoad,
	})
	require.NoError(s.t, err, "%s", s.line)
	s.load = l
	return &answer{}
}

// unload ends it: no command has failed and no block was wrong.
func unload(s *player, _ *side, _ []string) *answer {
	trace := s.load.Stop()
	require.Empty(s.t, trace.Errors, "%s", s.line)
	require.NotZero(s.t, trace.Reads, "%s", s.line)
	require.NotZero(s.t, trace.Writes, "%s", s.line)
	s.t.Logf("%d reads, %d writes, %d kept out, at most %v", trace.Reads, trace.Writes, trace.Kept, trace.Longest)
	return &answer{}
}

// file NAME CLUSTERS LETTER makes a file.
func file(s *player, at *side, args []string) *answer {
	n, err := strconv.Atoi(args[1])
	require.NoError(s.t, err)
	path := s.path(at, args[0])
	require.NoError(s.t, os.WriteFile(path, bytes.Repeat([]byte(args[2]), n*targettest.ClusterSize), 0o600))
	return &answer{}
}

func (s *player) path(at *side, name string) string {
	if s.dir == "" {
		s.dir = s.t.TempDir()
	}
	return filepath.Join(s.dir, at.names(name))
}

// aio NAME FILE makes an AIO bdev over it, always with the same UUID. What has one
// is restarted at the end: an esnap clone may have it open.
func aio(s *player, at *side, args []string) *answer {
	at.gone = true
	return s.one(at, "bdev_aio_create", map[string]any{
		"name": at.names(args[0]), "filename": s.path(at, args[1]), "block_size": 4096,
		"uuid": fmt.Sprintf("6c1e3c5a-1111-4222-8333-%012x", s.number),
	})
}

// start SOURCE BDEV OPERATION starts a shallow copy, and gives it a name. While a real
// target still examines a new bdev it would refuse to write to it.
func start(s *player, at *side, args []string) *answer {
	if at.target.Simulated() == nil {
		require.Empty(s.t, s.one(at, "bdev_wait_for_examine", nil).failed, "%s", s.line)
	}
	got := s.one(at, "bdev_lvol_start_shallow_copy", map[string]any{"src_lvol_name": at.names(args[0]), "dst_bdev_name": at.names(args[1])})
	if got.failed == "" {
		s.operations[args[2]] = got.result.(map[string]any)["operation_id"]
	}
	return got
}

// check OPERATION asks once.
func checkOnce(s *player, at *side, args []string) *answer {
	return s.one(at, "bdev_lvol_check_shallow_copy", map[string]any{"operation_id": s.operations[args[0]]})
}

// await OPERATION asks until the copy is over.
func await(s *player, at *side, args []string) *answer {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		got := checkOnce(s, at, args)
		if got.failed != "" || got.result.(map[string]any)["state"] != "in progress" {
			return got
		}
		require.True(s.t, time.Now().Before(deadline), "%s: it is never over", s.line)
	}
}

// copy SOURCE BDEV is a whole shallow copy.
func copyWhole(s *player, at *side, args []string) *answer {
	if got := start(s, at, append(args, "")); got.failed != "" {
		return got
	}
	return await(s, at, []string{""})
}

// listen NQN makes the subsystem listen on a port that is free.
func listen(s *player, at *side, args []string) *answer {
	// It fails where there is one already.
	s.one(at, "nvmf_create_transport", map[string]any{"trtype": "TCP"})
	for attempt := 0; ; attempt++ {
		probe, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(s.t, err)
		_, at.port, err = net.SplitHostPort(probe.Addr().String())
		require.NoError(s.t, err)
		require.NoError(s.t, probe.Close())
		got := s.one(at, "nvmf_subsystem_add_listener", map[string]any{"nqn": at.names(args[0]), "listen_address": at.address()})
		if got.failed == "" || attempt == 10 {
			return got
		}
	}
}

func (at *side) address() map[string]any {
	return map[string]any{"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": at.port}
}

// attach NAME NQN SIDE attaches to a subsystem of a side. A real target that gets no CPU
// for a while answers with an I/O error, and is asked again.
func attach(s *player, at *side, args []string) *answer {
	params := s.sides[args[2]].address()
	params["name"], params["subnqn"] = at.names(args[0]), at.names(args[1])
	for _, more := range args[3:] {
		key, value, _ := strings.Cut(more, "=")
		params[key] = s.value(at, value)
	}
	const ioError = "-5 Input/output error"
	for attempt := 0; ; attempt++ {
		got := s.one(at, "bdev_nvme_attach_controller", params)
		if got.failed != ioError || strings.Contains(s.line, ioError) || at.target.Simulated() != nil || attempt == 3 {
			return got
		}
	}
}

// settle BDEV waits until it appears, -BDEV until it is gone.
func settle(s *player, at *side, args []string) *answer {
	name, gone := strings.CutPrefix(args[0], "-")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if _, failed := s.bdev(at, name); (failed != nil) == gone {
			return &answer{}
		}
		require.True(s.t, time.Now().Before(deadline), "%s: it does not", s.line)
	}
}
