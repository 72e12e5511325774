package facts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// TestASimulatedTargetAnswersAsARealOne plays random calls on a real target and on a
// simulated one of its flavour, and compares every answer, and after each call what is
// listed. DIFFERENTIAL says for how long (30s each), DIFFERENTIAL_SEED with which seed
// to begin.
//
// What is known to hang or crash a real target is not drawn: cycles, an external bdev
// that goes while an esnap clone has it open, an esnap clone of the lvstore's own disk,
// a disk that goes with a renamed snapshot on it.
// Nor is what is known to differ, or not defined at all; draw_test.go says what.
func TestASimulatedTargetAnswersAsARealOne(t *testing.T) {
	lasts, first := 30*time.Second, rand.Uint64()
	if text := os.Getenv("DIFFERENTIAL"); text != "" {
		var err error
		lasts, err = time.ParseDuration(text)
		require.NoError(t, err, "DIFFERENTIAL")
	}
	if text := os.Getenv("DIFFERENTIAL_SEED"); text != "" {
		var err error
		first, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "DIFFERENTIAL_SEED")
	}
	for _, binary := range targettest.Binaries(t) {
		t.Run(filepath.Base(filepath.Dir(binary)), func(t *testing.T) {
			t.Parallel()
			real := targettest.Start(t, binary)
			flavour := flavourOf(t, real)
			parsed, err := simtarget.ParseFlavour(flavour)
			require.NoError(t, err)
			simulated := targettest.Simulate(t, simtarget.NewFabric(), parsed)
			calls, histories := 0, 0
			for deadline := time.Now().Add(lasts); time.Now().Before(deadline); histories++ {
				seed := first + uint64(histories)
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { calls += compare(t, flavour, seed, 0, real, simulated) })
				if t.Failed() {
					return
				}
			}
			t.Logf("%d calls in %d histories, from seed %d on", calls, histories, first)
		})
	}
}

// TestNoCycleIsDrawn: these histories have an upstream target list snapshots under other
// names than the lvols' own, and would then draw a cycle, which targets hang in.
func TestNoCycleIsDrawn(t *testing.T) {
	t.Parallel()
	one, other := targettest.Simulate(t, simtarget.NewFabric(), simtarget.Upstream), targettest.Simulate(t, simtarget.NewFabric(), simtarget.Upstream)
	for _, seed := range []uint64{12343719764190737705, 16058401839756198315} {
		compare(t, simtarget.Upstream.String(), seed, 0, one, other)
	}
}

// TestASimulatedTargetFindsInItsFilesWhatAnotherRemembers plays random calls on two
// simulated targets, of which one has nothing but its files after a restart, and
// restarts both often.
func TestASimulatedTargetFindsInItsFilesWhatAnotherRemembers(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			remembers := targettest.Simulate(t, simtarget.NewFabric(), flavour)
			reads := targettest.SimulateInFiles(t, flavour)
			for seed := range uint64(8) {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					compare(t, flavour.String(), seed, 5, remembers, reads)
				})
			}
		})
	}
}

// callsOf is how long a history is.
const callsOf = 80

// duel is a history on two targets.
type duel struct {
	t       *testing.T
	flavour string
	random  *rand.Rand
	sides   [2]*duelist
	played  []string
	looked  picture             // what both list
	bdevs   map[string]pictured // by UUID, of both
	renamed bool                // a snapshot was
	resized map[string]bool     // by UUID at the first one: a resize was refused, which may have changed the blob
	reads   bool                // see duel.ifReads
	mirror  int                 // clusters of the RAID, 0: there is none
}

type duelist struct {
	*side
	player *player
	files  string
	ext    bool // the external bdev is there
}

// picture is what is drawn from: lvols by the name by which calls reach them.
type picture map[string]pictured

type pictured struct {
	uuids    [2]string
	clusters int
	parent   string
	readOnly bool
	esnap    bool
	claimed  bool
	alias    string
}

// compare plays one history. One call in restarts is a restart, with 0 hardly any.
func compare(t *testing.T, flavour string, seed uint64, restarts int, targets ...*targettest.Target) (calls int) {
	d := &duel{t: t, flavour: flavour, random: rand.New(rand.NewPCG(seed, 1)), resized: make(map[string]bool)}
	d.reads = d.random.IntN(4) > 0
	for i, target := range targets {
		own := fmt.Sprintf("duel-%d", seed)
		at := &duelist{side: &side{target: target, fact: own}, files: t.TempDir()}
		at.player = &player{t: t, flavour: flavour, sides: map[string]*side{"A": at.side}, operations: make(map[string]any)}
		at.store = target.NewStore(t, clusters)
		d.sides[i] = at
	}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, after %d calls:\n\t%s", seed, len(d.played), strings.Join(d.played, "\n\t"))
		}
		for _, at := range d.sides {
			// What reads through to the external bdev would keep it, what hangs on a renamed
			// snapshot the store's own disk.
			if at.gone || at.ext || d.renamed {
				at.target.Restart(t)
			}
		}
	}()
	d.look()
	for len(d.played) < callsOf {
		line := "restart"
		if restarts == 0 || d.random.IntN(restarts) > 0 {
			line = d.draw()
		}
		d.step(line)
		d.look()
	}
	return len(d.played)
}

// step plays a call on both, and compares.
func (d *duel) step(line string) {
	d.played = append(d.played, line)
	fields := strings.Fields(line)
	if fields[0] == "rename" && d.flavour == simtarget.Fork.String() {
		d.renamed = d.renamed || d.looked[fields[1]].readOnly
	}
	var said [2]string
	for i, at := range d.sides {
		said[i] = at.play(line, i, d.looked)
	}
	require.Equal(d.t, said[0], said[1], "%s: the first one answers otherwise", line)
	if strings.Contains(fields[0], "resize") && said[0] != " true" {
		name := strings.Trim(strings.TrimPrefix(fields[1], "name="), "%")
		d.resized[d.looked[name].uuids[0]] = true
	}
}

// play does one line, and returns its answers as text that is the same for both.
func (at *duelist) play(line string, which int, looked picture) string {
	at.player.line = line
	var calls []call
	for _, text := range strings.Split(line, " ; ") {
		for name, l := range looked { // by UUID
			text = strings.ReplaceAll(text, "%"+name+"%", l.uuids[which])
		}
		fields := strings.Fields(text)
		switch fields[0] {
		case "ext":
			at.ext = true
			calls = append(calls, call{method: "bdev_aio_create", params: at.external()})
			continue
		case "noext":
			at.ext = false
			fields = []string{"bdev_aio_delete", "name=" + at.store + "-ext"}
		}
		if verb, ok := verbs[fields[0]]; ok {
			calls = append(calls, call{answer: verb(at.player, at.side, fields[1:])})
			continue
		}
		calls = append(calls, at.player.call(at.side, rewrite(fields)))
	}
	var said []string
	for _, got := range at.player.ask(at.side, calls) {
		if got.failed == noAnswer || got.failed == died {
			at.gone = true
		}
		said = append(said, strings.ReplaceAll(got.failed, at.store, "STORE")+" "+at.plain(got.result))
	}
	return strings.Join(said, "\n")
}

const clustersOfExternal = 2

// external are the parameters of an AIO bdev with the same UUID each time.
func (at *duelist) external() map[string]any {
	file := filepath.Join(at.files, "ext")
	if _, err := os.Stat(file); err != nil {
		content := []byte(strings.Repeat("E", clustersOfExternal*targettest.ClusterSize))
		require.NoError(at.player.t, os.WriteFile(file, content, 0o600))
	}
	var n uint64
	_, err := fmt.Sscanf(at.fact, "duel-%d", &n)
	require.NoError(at.player.t, err)
	return map[string]any{
		"name": at.store + "-ext", "filename": file, "block_size": 4096,
		"uuid": fmt.Sprintf("6c1e3c5a-1111-4222-8333-%012x", n&(1<<48-1)),
	}
}

var (
	uuidForm = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timeForm = regexp.MustCompile(`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z`)
)

// plain is a result without what differs from target to target.
func (at *duelist) plain(result any) string {
	if status, ok := result.(map[string]any); ok {
		delete(status, "operation_id")
	}
	sortClones(result)
	text, err := json.Marshal(result)
	require.NoError(at.player.t, err)
	plain := strings.ReplaceAll(string(text), at.store, "STORE")
	return timeForm.ReplaceAllString(uuidForm.ReplaceAllString(plain, "UUID"), "TIME")
}

// look compares what is listed, and keeps it.
func (d *duel) look() {
	var listed [2]string
	d.looked, d.bdevs = make(picture), make(map[string]pictured)
	for i, at := range d.sides {
		at.player.line = "look"
		got := at.player.ask(at.side, []call{
			{method: "bdev_lvol_get_lvols", params: map[string]any{"lvs_name": at.store}},
			{method: "bdev_get_bdevs"},
			{method: "bdev_lvol_get_lvstores", params: map[string]any{"lvs_name": at.store}},
		})
		for _, answer := range got {
			require.Empty(d.t, answer.failed, "the %s one lists no longer", []string{"first", "second"}[i])
		}
		lvols, bdevs := got[0].result.([]any), d.picture(i, got[1].result.([]any))
		slices.SortFunc(lvols, byKey("name"))
		listed[i] = at.plain([]any{lvols, bdevs, got[2].result})
		d.keep(i, at.store, lvols)
	}
	if listed[0] != listed[1] {
		require.Equal(d.t, strings.ReplaceAll(listed[0], "{", "\n{"), strings.ReplaceAll(listed[1], "{", "\n{"),
			"the first one lists something else")
	}
}

// keep keeps what is listed under the names by which calls reach it. A target calls an
// lvol's parent by the parent's name, and upstream an lvol whose rename was refused by
// an alias that is not its name.
func (d *duel) keep(side int, store string, lvols []any) {
	reached := make(map[string]string) // by name
	for _, l := range lvols {
		l := l.(map[string]any)
		name := l["name"].(string)
		reached[name] = name
		if b, ok := d.bdevs[l["uuid"].(string)]; ok {
			reached[name] = strings.TrimPrefix(b.alias, store+"/")
		}
	}
	for _, l := range lvols {
		l := l.(map[string]any)
		uuid, name := l["uuid"].(string), reached[l["name"].(string)]
		uuids := d.looked[name].uuids
		uuids[side] = uuid
		one := d.bdevs[uuid]
		one.uuids, one.parent = uuids, reached[one.parent]
		d.looked[name] = one
	}
}

// sortClones puts the clones of all bdevs of an answer in order: a target lists them
// as its blobstore has come upon them.
func sortClones(result any) {
	bdevs, _ := result.([]any)
	for _, entry := range bdevs {
		b, _ := entry.(map[string]any)
		driver, _ := b["driver_specific"].(map[string]any)
		l, _ := driver["lvol"].(map[string]any)
		if clones, ok := l["clones"].([]any); ok {
			slices.SortFunc(clones, func(a, b any) int { return cmp.Compare(a.(string), b.(string)) })
		}
	}
}

func byKey(key string) func(a, b any) int {
	return func(a, b any) int {
		return cmp.Compare(fmt.Sprint(a.(map[string]any)[key]), fmt.Sprint(b.(map[string]any)[key]))
	}
}

// raidPicture is what both flavours tell of a RAID.
func raidPicture(b map[string]any) map[string]any {
	shown := map[string]any{"name": "raid", "aliases": "", "num_blocks": b["num_blocks"], "claimed": b["claimed"]}
	raid := b["driver_specific"].(map[string]any)["raid"].(map[string]any)
	for _, key := range []string{"state", "raid_level", "superblock", "num_base_bdevs", "num_base_bdevs_discovered", "num_base_bdevs_operational"} {
		shown[key] = raid[key]
	}
	var slots []any
	for _, base := range raid["base_bdevs_list"].([]any) {
		slot := base.(map[string]any)
		slots = append(slots, []any{slot["name"], slot["uuid"], slot["is_configured"], slot["data_offset"], slot["data_size"]})
	}
	shown["slots"] = slots
	return shown
}

// picture picks the lvstore's bdevs, in an order of its own, and notes what calls are
// drawn from.
func (d *duel) picture(which int, bdevs []any) []any {
	at := d.sides[which]
	var ours []any
	sortClones(bdevs)
	d.mirror = 0
	for _, entry := range bdevs {
		b := entry.(map[string]any)
		l, ok := b["driver_specific"].(map[string]any)["lvol"].(map[string]any)
		if !ok || l["base_bdev"] != "aio-"+at.store {
			if b["name"] == at.store+"-ext" {
				ours = append(ours, map[string]any{"name": "ext", "aliases": "", "claimed": b["claimed"], "claim_type": b["claim_type"]})
			}
			if b["name"] == at.fact+"-r" {
				ours = append(ours, raidPicture(b))
				blocks, err := b["num_blocks"].(json.Number).Int64()
				require.NoError(d.t, err)
				d.mirror = int(blocks) * 4096 / targettest.ClusterSize
			}
			continue
		}
		ours = append(ours, b)
		blocks, err := b["num_blocks"].(json.Number).Int64()
		require.NoError(d.t, err)
		one := pictured{clusters: int(blocks) * 4096 / targettest.ClusterSize, alias: b["aliases"].([]any)[0].(string)}
		one.parent, _ = l["base_snapshot"].(string)
		one.readOnly = !b["supported_io_types"].(map[string]any)["write"].(bool)
		one.esnap = l["esnap_clone"].(bool)
		one.claimed = b["claimed"].(bool)
		d.bdevs[b["name"].(string)] = one
	}
	slices.SortFunc(ours, byKey("aliases"))
	return ours
}
