package facts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// pool are the names that lvols are given: few, so that they meet.
var pool = []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}

// draws are the calls of a history, each as often as its weight says. One that cannot
// be drawn now is "".
var draws = []struct {
	weight int
	draw   func(d *duel) string
}{
	{10, func(d *duel) string { return fmt.Sprintf("create %s %d", d.name(), d.random.IntN(7)) }},
	{2, func(d *duel) string { return d.ifAllocates(fmt.Sprintf("thick %s %d", d.name(), d.random.IntN(5))) }},
	{1, func(d *duel) string { return fmt.Sprintf("thick %s 1000", d.name()) }},
	{12, func(d *duel) string { return fmt.Sprintf("snapshot %s %s", d.any(), d.name()) }},
	{10, func(d *duel) string { return fmt.Sprintf("clone %s %s", d.any(), d.name()) }},
	{10, func(d *duel) string { return d.deletion() }},
	{5, func(d *duel) string { return fmt.Sprintf("rename %s %s", d.any(), d.name()) }},
	{6, func(d *duel) string { return d.resizing() }},
	{14, func(d *duel) string { return d.graft() }},
	{3, func(d *duel) string { return "detach " + d.any() }},
	{3, func(d *duel) string { return d.decoupling() }},
	{2, func(d *duel) string { return d.ifAllocates("inflate " + d.any()) }},
	{14, func(d *duel) string { return d.writing() }},
	{8, func(d *duel) string { return d.view() }},
	{8, func(d *duel) string { return fmt.Sprintf("copy @%s @%s", d.any(), d.any()) }},
	{1, func(d *duel) string { return fmt.Sprintf("copy @%s STORE-ext", d.any()) }},
	{3, func(d *duel) string { return fmt.Sprintf("set_xattr %s key %s", d.any(), d.name()) }},
	{3, func(d *duel) string { return fmt.Sprintf("get_xattr %s key", d.any()) }},
	{4, func(d *duel) string { return "register " + d.any() }},
	{4, func(d *duel) string { return d.ifReads("checksum " + d.any()) }},
	{4, func(d *duel) string { return "map " + d.any() }},
	{1, func(d *duel) string {
		offset, size := d.random.IntN(4)<<19, d.random.IntN(6)<<19
		if size == 0 {
			offset = 0 // else the fork reads as many clusters as the lvol has, beyond its end
		}
		return fmt.Sprintf("bdev_lvol_get_fragmap name=@%s offset=%d size=%d", d.any(), offset, size)
	}},
	{3, func(d *duel) string { return fmt.Sprintf("limit %s %d", d.any(), d.random.IntN(2)*10000) }},
	{3, func(d *duel) string { return d.external() }},
	{3, func(d *duel) string {
		return fmt.Sprintf("bdev_lvol_clone_bdev bdev=STORE-ext lvs_name=STORE clone_name=%s", d.name())
	}},
	{3, func(d *duel) string { return d.exporting() }},
	{16, func(d *duel) string { return d.mirroring() }},
	{3, func(d *duel) string { return d.trimming() }},
	{8, func(d *duel) string { return d.ontoExternal() }},
	{2, func(d *duel) string { return d.byUUID() }},
	{3, func(d *duel) string { return d.malformed() }},
	{5, func(d *duel) string { return d.together() }},
	{1, func(d *duel) string { return d.restarting() }},
}

func (d *duel) draw() string {
	total := 0
	for _, one := range draws {
		total += one.weight
	}
	for {
		n := d.random.IntN(total)
		for _, one := range draws {
			if n -= one.weight; n < 0 {
				if line := one.draw(d); line != "" {
					return line
				}
				break
			}
		}
	}
}

func (d *duel) name() string { return pool[d.random.IntN(len(pool))] }

// any is mostly the name of an lvol that is there.
func (d *duel) any() string {
	if d.random.IntN(12) == 0 {
		return d.name()
	}
	return d.existing()
}

func (d *duel) existing() string {
	there := slices.Sorted(maps.Keys(d.looked))
	there = slices.DeleteFunc(there, func(name string) bool { return d.looked[name].uuids[0] == "" })
	if len(there) == 0 {
		return d.name()
	}
	return there[d.random.IntN(len(there))]
}

// deletion spares a snapshot that would merge into a shorter clone: what a real target
// leaks when that is deleted is not counted here.
func (d *duel) deletion() string {
	name := d.any()
	if d.mergesIntoShorter(name) {
		return ""
	}
	return "delete " + name
}

func (d *duel) mergesIntoShorter(name string) bool {
	for _, l := range d.looked {
		if l.parent == name && (l.clusters < d.looked[name].clusters || d.resized[l.uuids[0]]) {
			return true
		}
	}
	return false
}

// What a cluster holds that was allocated and never written is what the disk held
// before, which is not simulated: a history allocates such ones, or reads.
func (d *duel) ifAllocates(line string) string {
	if d.reads {
		return ""
	}
	return line
}

func (d *duel) ifReads(line string) string {
	if !d.reads {
		return ""
	}
	return line
}

// decoupling spares what is longer than its parent: a real target looks beyond the end
// of the parent's map of clusters (bs_cluster_needs_allocation), and may allocate what
// it sees there.
func (d *duel) decoupling() string {
	name := d.any()
	l := d.looked[name]
	if l.parent != "" && d.looked[l.parent].clusters < l.clusters {
		return ""
	}
	return "decouple " + name
}

// graft draws no cycle.
func (d *duel) graft() string {
	child, parent := d.any(), d.any()
	for up, steps := parent, 0; up != "" && steps < 100; up, steps = d.looked[up].parent, steps+1 {
		if up == child && parent != child {
			return ""
		}
	}
	return fmt.Sprintf("set_parent %s %s", child, parent)
}

// resizing leaves esnap clones alone, and what hangs on one, which may become one:
// beyond the external bdev's end one is neither read nor written nor inflated. What a RAID may have
// does not become shorter: it would be shorter than its bdev says.
func (d *duel) resizing() string {
	name := d.any()
	if d.readsOutside(name) {
		return ""
	}
	if l := d.looked[name]; d.mirror > 0 && l.claimed {
		return fmt.Sprintf("resize %s %d", name, l.clusters+d.random.IntN(3))
	}
	return fmt.Sprintf("resize %s %d", name, d.random.IntN(8))
}

func (d *duel) readsOutside(name string) bool {
	for steps := 0; name != "" && steps < 100; name, steps = d.looked[name].parent, steps+1 {
		if d.looked[name].esnap {
			return true
		}
	}
	return false
}

// restarting waits for no name to be in doubt: that of a renamed snapshot may not have
// been written, and another lvol may have it now. Then a real target lists the one
// whose blob has the lower number, and blobs are not numbered here.
func (d *duel) restarting() string {
	if d.renamed {
		return ""
	}
	return "restart"
}

// view and writing leave alone what is exported: the tests have no way in.
func (d *duel) view() string {
	name := d.existing()
	if d.looked[name].claimed {
		return ""
	}
	return d.ifReads("view " + name)
}

func (d *duel) writing() string {
	name := d.existing()
	l := d.looked[name]
	if !d.writable(l) {
		return ""
	}
	return fmt.Sprintf("write %s %d %c", name, d.random.IntN(l.clusters), "ABC0"[d.random.IntN(4)])
}

// writable leaves alone what may be shorter than it says, since a resize was refused.
func (d *duel) writable(l pictured) bool {
	return !l.readOnly && l.clusters > 0 && !l.claimed && !d.resized[l.uuids[0]]
}

// external takes the external bdev away only where nothing reads through to it.
func (d *duel) external() string {
	if !d.sides[0].ext {
		return "ext"
	}
	for _, l := range d.looked {
		if l.esnap || l.clusters == 0 {
			return ""
		}
	}
	return "noext"
}

func (d *duel) exporting() string {
	const nqn = "nqn.2026-01.com.example:STORE"
	switch d.random.IntN(4) {
	case 0:
		return "subsystem " + nqn
	case 1:
		return "drop " + nqn
	case 2:
		return fmt.Sprintf("export %s %s %d %032x", nqn, d.any(), d.random.IntN(4), d.random.Uint64())
	default:
		return fmt.Sprintf("withdraw %s %d", nqn, d.random.IntN(4))
	}
}

// mirroring is of one RAID over lvols that have a size: a real target waits for a base that is not
// there yet. What a RAID reads depends on the base that it asks, so only its bases are read.
func (d *duel) mirroring() string {
	base := func() string {
		name := d.existing()
		if l := d.looked[name]; l.clusters == 0 || l.readOnly || d.resized[l.uuids[0]] {
			return "" // the RAID would drop a snapshot at the first write, but later than it answers
		}
		return "@" + name
	}
	one, other := base(), base()
	if one == "" || other == "" {
		return ""
	}
	switch d.random.IntN(8) {
	case 0, 1, 2:
		return "raid ~r " + one + " " + other
	case 3:
		return "bdev_raid_delete name=~r"
	case 4:
		return "grow ~r " + one
	case 5:
		return "ungrow " + one
	default:
		if d.mirror == 0 {
			return ""
		}
		return fmt.Sprintf("write ~r %d %c", d.random.IntN(d.mirror), "ABC0"[d.random.IntN(4)])
	}
}

// trimming leaves alone what is exported, as writing does.
func (d *duel) trimming() string {
	name := d.existing()
	if l := d.looked[name]; d.writable(l) {
		return fmt.Sprintf("trim %s %d", name, d.random.IntN(l.clusters))
	}
	return ""
}

// ontoExternal exchanges the parent for the external bdev, of an lvol that is not longer: such a one
// could not be read beyond it.
func (d *duel) ontoExternal() string {
	name := d.any()
	if !d.sides[0].ext || d.looked[name].clusters > clustersOfExternal || d.looked[name].clusters == 0 {
		return ""
	}
	return fmt.Sprintf("bdev_lvol_set_parent_bdev lvol_name=@%s parent_name=STORE-ext", name)
}

func (d *duel) byUUID() string {
	name := d.existing()
	if d.looked[name].uuids[0] == "" || d.readsOutside(name) || d.mergesIntoShorter(name) {
		return ""
	}
	return fmt.Sprintf([]string{
		"bdev_get_bdevs name=%%%s%%", "bdev_lvol_delete name=%%%s%%", "bdev_lvol_resize name=%%%s%% size_in_mib=3",
		"bdev_lvol_snapshot lvol_name=%%%s%% snapshot_name=" + d.name(),
	}[d.random.IntN(4)], name)
}

func (d *duel) malformed() string {
	return []string{
		"bdev_lvol_create lvs_name=STORE lvol_name=" + d.name(),
		"bdev_lvol_create lvs_name=STORE lvol_name=" + d.name() + " size_in_mib=-1",
		"bdev_lvol_create lvs_name=STORE lvol_name=7 size_in_mib=1",
		"bdev_lvol_create lvs_name=STORE lvol_name=" + d.name() + " size_in_mib=1 colour=red",
		"bdev_lvol_create lvs_name=STORE lvol_name=" + d.name() + " size_in_mib=1 thin_provision=1",
		"bdev_lvol_create lvs_name=STORE lvol_name=" + strings.Repeat("x", 64+200*d.random.IntN(2)) + " size_in_mib=1 thin_provision=true",
		`bdev_lvol_create lvs_name=STORE lvol_name="" size_in_mib=1 thin_provision=true`,
		"bdev_lvol_clone snapshot_name=@" + d.any(),
		"bdev_lvol_delete",
		"bdev_lvol_delete name=[]",
		"bdev_lvol_set_parent lvol_name=@" + d.any(),
		"bdev_lvol_get_lvols lvs_name=none",
		"bdev_lvol_get_lvols lvs_uuid=none",
		"bdev_lvol_check_shallow_copy operation_id=4000000000",
		"bdev_lvol_start_shallow_copy src_lvol_name=@" + d.any() + " dst_bdev_name=none",
		"bdev_lvol_snapshot lvol_name=aio-STORE snapshot_name=" + d.name(),
		"bdev_lvol_clone_bdev bdev=@" + d.any() + " lvs_name=STORE clone_name=" + d.name(),
		"bdev_nonsense",
	}[d.random.IntN(18)]
}

// together writes two calls at once: those that a target finishes in the order in
// which they begin.
func (d *duel) together() string {
	one := func() string {
		switch d.random.IntN(4) {
		case 0:
			return fmt.Sprintf("create %s %d", d.name(), 1+d.random.IntN(4))
		case 1:
			return fmt.Sprintf("clone %s %s", d.existing(), d.name())
		case 2:
			return fmt.Sprintf("snapshot %s %s", d.existing(), d.name())
		default:
			return d.graft()
		}
	}
	first, second := one(), one()
	if first == "" || second == "" || strings.HasPrefix(first, "set_parent") && strings.HasPrefix(second, "set_parent") {
		return "" // two grafts may close a cycle together
	}
	return first + " ; " + second
}
