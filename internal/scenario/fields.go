package scenario

import (
	"math"

	"go.yaml.in/yaml/v3"
)

// This file defines the format: its fields and their types.

const (
	maxRuns     = 100
	maxParallel = 1024
)

func (r *reader) scenario(root *yaml.Node) *Scenario {
	r.apiVersion(root)
	f := r.fields(value{node: root}, "apiVersion", "volume", "backingImage", "base", "source", "destination", "options", "online", "runs", "faults")
	return &Scenario{
		Volume:      r.volume(f.required("volume", "a mapping with the fields name, size, clusterSize")),
		Image:       r.backingImage(f.optional("backingImage")),
		Base:        r.base(f.optional("base")),
		Source:      r.source(f.required("source", "a mapping with the fields replica, hurt, snapshots, head")),
		Destination: r.destination(f.optional("destination")),
		Options:     r.options(f.optional("options")),
		Online:      r.online(f.optional("online")),
		Runs:        int(r.number(f.optional("runs"), 1, maxRuns)),
		Faults:      r.faults(f.optional("faults")),
	}
}

// apiVersion comes first: in a file of another kind, everything else would be wrong, too.
func (r *reader) apiVersion(root *yaml.Node) {
	root = target(root)
	if root.Kind != yaml.MappingNode {
		r.fail(value{node: root}, "expected a scenario that begins with apiVersion: %s, got %s", APIVersion, describe(root))
		return
	}
	version := child(root, "apiVersion")
	at := &location{field: "apiVersion"}
	if version == nil {
		r.fail(value{root, at}, "missing, expected %s", APIVersion)
		return
	}
	v := value{version, at}
	if r.text(v, APIVersion) != APIVersion {
		r.fail(v, "expected %s, got %s", APIVersion, describe(target(version)))
	}
}

func (r *reader) volume(v value) Volume {
	f := r.fields(v, "name", "size", "clusterSize")
	return Volume{
		Name:        r.text(f.required("name", "a name"), "a name"),
		Size:        r.size(f.required("size", "a size such as 16MiB"), 1),
		ClusterSize: r.size(f.optional("clusterSize"), 1),
	}
}

func (r *reader) backingImage(v value) *BackingImage {
	if !present(v) {
		return nil
	}
	f := r.fields(v, "name", "size", "writes", "file")
	image := &BackingImage{Name: r.text(f.required("name", "a name"), "a name")}
	if file := f.optional("file"); file.given() {
		image.File = r.text(file, "the path of a file")
		for _, other := range []string{"size", "writes"} {
			if given := f.optional(other); given.given() {
				r.fail(given, "expected either file, or size and writes, got both")
			}
		}
		return image
	}
	image.Size = r.size(f.required("size", "a size such as 8MiB, or file"), 1)
	image.Writes = r.writes(f.optional("writes"))
	return image
}

func (r *reader) base(v value) *Base {
	if !present(v) {
		return nil
	}
	f := r.fields(v, "volume", "snapshot", "backingImage", "snapshots", "destination")
	base := &Base{
		Volume:    r.text(f.required("volume", "the name of a volume"), "the name of a volume"),
		Snapshot:  r.text(f.required("snapshot", "the name of a snapshot"), "the name of a snapshot"),
		Image:     r.backingImage(f.optional("backingImage")),
		Snapshots: r.snapshots(f.required("snapshots", "a list of snapshots")),
	}
	r.baseOnDestination(f.optional("destination"), base)
	return base
}

func (r *reader) baseOnDestination(v value, base *Base) {
	if !v.given() {
		return
	}
	if target(v.node).Kind != yaml.MappingNode {
		states := []string{string(BasePresent), string(BaseNoEntryPoint), string(BaseNoSnapshot), string(BaseAbsent)}
		base.Destination = BaseState(r.word(v, expectedBaseState, states...))
		return
	}
	f := r.fields(v, "snapshots")
	base.OtherTree = append([]Snapshot{}, r.snapshots(f.required("snapshots", "a list of snapshots"))...)
}

func (r *reader) source(v value) Source {
	f := r.fields(v, "replica", "hurt", "snapshots", "head")
	source := Source{Replica: r.text(f.optional("replica"), "the name of a replica"), Hurt: isTrue(r.flag(f.optional("hurt"))), Head: r.head(f.optional("head"))}
	source.Snapshots = r.snapshots(f.optional("snapshots"))
	return source
}

// snapshots are nil if they were left out or are none.
func (r *reader) snapshots(v value) (all []Snapshot) {
	for _, element := range r.list(v, "snapshots") {
		of := r.fields(element, "name", "parent", "size", "createdAt", "userCreated", "writes")
		all = append(all, r.snapshot(of))
		if r.err != nil {
			break
		}
	}
	return all
}

func (r *reader) snapshot(f fields) Snapshot {
	return Snapshot{
		Name:        r.text(f.required("name", "a name"), "a name"),
		Parent:      r.text(f.optional("parent"), "the name of a snapshot, or "+NoParent),
		Size:        r.size(f.optional("size"), 1),
		CreatedAt:   r.moment(f.optional("createdAt")),
		UserCreated: r.flag(f.optional("userCreated")),
		Writes:      r.writes(f.optional("writes")),
	}
}

func (r *reader) destination(v value) Destination {
	f := r.fields(v, "replica", "image", "clusterSize", "freeClusters", "flavour", "snapshots", "head", "lvols")
	d := Destination{Replica: r.text(f.optional("replica"), "the name of a replica")}
	r.destinationImage(f.optional("image"), &d)
	d.ClusterSize = r.size(f.optional("clusterSize"), 1)
	if free := f.optional("freeClusters"); free.given() {
		d.FreeClusters = new(r.number(free, 0, math.MaxUint64))
	}
	d.Upstream = r.word(f.optional("flavour"), "fork or upstream", "fork", "upstream") == "upstream"
	for _, element := range r.list(f.optional("snapshots"), "snapshots") {
		d.Snapshots = append(d.Snapshots, r.leftover(element))
		if r.err != nil {
			break
		}
	}
	d.Head = r.head(f.optional("head"))
	for _, element := range r.list(f.optional("lvols"), "lvols") {
		d.Lvols = append(d.Lvols, r.lvol(element))
		if r.err != nil {
			break
		}
	}
	return d
}

func (r *reader) destinationImage(v value, d *Destination) {
	if !v.given() {
		return
	}
	if target(v.node).Kind != yaml.MappingNode {
		d.ImageAbsent = r.word(v, "present, absent, or a mapping with the fields uuid, size, writes", "present", "absent") == "absent"
		return
	}
	f := r.fields(v, "uuid", "size", "writes")
	d.OtherImage = &OtherImage{
		UUID:   r.text(f.optional("uuid"), "a UUID"),
		Size:   r.size(f.optional("size"), 1),
		Writes: r.writes(f.optional("writes")),
	}
}

func (r *reader) leftover(v value) Leftover {
	f := r.fields(v, "name", "like", "parent", "size", "createdAt", "userCreated", "writes")
	return Leftover{
		LikeSource: r.word(f.optional("like"), "source", "source") == "source",
		Snapshot:   r.snapshot(f),
	}
}

func (r *reader) head(v value) *Head {
	if !present(v) {
		return nil
	}
	f := r.fields(v, "parent", "writes")
	return &Head{
		Parent: r.text(f.optional("parent"), "the name of a snapshot, or "+NoParent),
		Writes: r.writes(f.optional("writes")),
	}
}

func (r *reader) lvol(v value) Lvol {
	f := r.fields(v, "name", "parent", "size", "snapshot", "writes")
	return Lvol{
		Name:     r.text(f.required("name", "a full name"), "a full name"),
		Parent:   r.text(f.optional("parent"), "the name of a snapshot or an lvol, or "+NoParent),
		Size:     r.size(f.optional("size"), 1),
		Snapshot: isTrue(r.flag(f.optional("snapshot"))),
		Writes:   r.writes(f.optional("writes")),
	}
}

// writes are nil if they were left out, which differs from an empty list.
func (r *reader) writes(v value) []Write {
	elements := r.list(v, "writes")
	if elements == nil {
		return nil
	}
	writes := make([]Write, len(elements))
	for i, element := range elements {
		f := r.fields(element, "offset", "length", "seed")
		writes[i] = Write{
			Offset: r.size(f.required("offset", "a size such as 0 or 1MiB"), 0),
			Length: r.size(f.required("length", "a size such as 1MiB"), 0),
			Seed:   r.number(f.required("seed", numberBetween(0, math.MaxUint64)), 0, math.MaxUint64),
		}
		if r.err != nil {
			break
		}
	}
	return writes
}

func (r *reader) options(v value) Options {
	f := r.fields(v, "fast", "parallel", "acceptHurtSource", "overwrite")
	return Options{
		Fast:             r.flag(f.optional("fast")),
		Parallel:         int(r.number(f.optional("parallel"), 1, maxParallel)),
		AcceptHurtSource: isTrue(r.flag(f.optional("acceptHurtSource"))),
		Overwrite:        isTrue(r.flag(f.optional("overwrite"))),
	}
}

func (r *reader) faults(v value) (all []Fault) {
	for _, element := range r.list(v, "faults") {
		f := r.fields(element, "call", "nth", "side", "run", "error", "times", "crash")
		crash := f.optional("crash")
		if !crash.given() {
			fault := r.call(f)
			fault.Error = FaultError(r.text(f.required("error", expectedErrors()+"; or crash"), expectedErrors()))
			fault.Times = int(r.number(f.optional("times"), 1, maxNth))
			all = append(all, fault)
		} else {
			for _, other := range f.known {
				if given := f.optional(other); given.given() && other != "crash" {
					r.fail(given, "expected crash alone, which has its own fields: call, nth, side, run, of, after")
				}
			}
			all = append(all, r.crash(f.required("crash", "a mapping with the fields call, nth, side, run, of, after")))
		}
		if r.err != nil {
			break
		}
	}
	return all
}

func (r *reader) crash(v value) Fault {
	f := r.fields(v, "call", "nth", "side", "run", "of", "after")
	fault := r.call(f)
	fault.Crash = CrashEngine
	if of := f.optional("of"); of.given() {
		fault.Crash = Crash(r.word(of, expectedCrash, string(CrashEngine), string(CrashTarget)))
	}
	fault.After = isTrue(r.flag(f.optional("after")))
	return fault
}

// call reads the call at which a fault occurs.
func (r *reader) call(f fields) Fault {
	return Fault{
		Call: r.text(f.required("call", expectedCalls()), expectedCalls()),
		Nth:  int(r.number(f.optional("nth"), 1, maxNth)),
		Side: Side(r.word(f.optional("side"), expectedSide, string(SideSource), string(SideDestination))),
		Run:  int(r.number(f.optional("run"), 1, maxRuns)),
	}
}

// present reports whether an optional mapping is given and not null.
func present(v value) bool { return v.given() && !isNull(target(v.node)) }

func isTrue(flag *bool) bool { return flag != nil && *flag }
