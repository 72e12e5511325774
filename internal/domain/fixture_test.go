package domain

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// fixture is a source, a destination and the request, given as text:
//
//	requested base                       (or none, or nothing; the default is nothing)
//	options full accept-hurt-source reserve=1
//	source                          (followed by properties of the store: upstream, free=9, …)
//	  image:base
//	    s1 own=a/2                  a clone of the image with 2 clusters of the data a
//	      s2 own=map,sum/1 at=7     the map and the checksum of its cluster differ
//	        head record=base
//	destination
//	  …
//
// Indentation shows the parent. A plain name is a snapshot of the side's replica; see
// lvolOf for other lvols and their properties.
type fixture struct {
	requested           Base
	options             Options
	source, destination Listing
}

const fixtureSize = 8 // default number of clusters of all lvols except images

func parseFixture(t rapid.TB, text string) fixture {
	t.Helper()
	s := fixture{source: fixtureStore("a"), destination: fixtureStore("b")}
	var side *Listing
	var replica, drawn string
	finish := func() {
		if side != nil {
			fillStore(t, side, replica, drawn)
		}
		side, drawn = nil, ""
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case strings.HasPrefix(line, " "):
			require.NotNil(t, side, "%q belongs to neither side", line)
			drawn += line + "\n"
		case words[0] == "source":
			finish()
			side, replica = &s.source, sourceReplica
			describeStore(t, side, words[1:])
		case words[0] == "destination":
			finish()
			side, replica = &s.destination, destinationReplica
			describeStore(t, side, words[1:])
		case words[0] == "requested":
			s.requested = BaseOfRecord(strings.TrimPrefix(words[1], "nothing"))
		case words[0] == "options":
			s.options = parseOptions(t, words[1:])
		default:
			t.Fatalf("no such line in a fixture: %q", line)
		}
	}
	finish()
	return s
}

func fixtureStore(name string) Listing {
	return Listing{
		UUID: "store-" + name, Name: "disk-" + name, ClusterSize: proofCluster, BlockSize: 4096,
		TotalClusters: 1000, FreeClusters: 1000, NameLimit: 255, Proves: true, Records: true, RenamesSnapshots: true,
	}
}

// storeOf is a single destination.
func storeOf(t rapid.TB, drawn string) Listing {
	t.Helper()
	store := fixtureStore("b")
	fillStore(t, &store, destinationReplica, drawn)
	return store
}

func parseOptions(t rapid.TB, words []string) (options Options) {
	t.Helper()
	for _, word := range words {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "full":
			options.Full = true
		case "accept-hurt-source":
			options.AcceptHurtSource = true
		case "overwrite":
			options.Overwrite = value
		case "reserve":
			options.ReservePercent = float64(number(t, value))
		case "sealed": // sealed=NAME/2: an earlier run sealed that snapshot, with so many clusters
			name, count, _ := strings.Cut(value, "/")
			n := number(t, count)
			options.Sealings = append(options.Sealings, Sealing{Source: "a-" + name, Copy: "b-" + name, SourceClusters: n, CopyClusters: n})
		default:
			t.Fatalf("no such option: %q", word)
		}
	}
	return options
}

func describeStore(t rapid.TB, store *Listing, words []string) {
	t.Helper()
	for _, word := range words {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "upstream":
			store.Proves, store.Records, store.RenamesSnapshots = false, false, false
		case "renames-no-snapshots":
			store.RenamesSnapshots = false
		case "free":
			store.FreeClusters = number(t, value)
		case "total":
			store.TotalClusters = number(t, value)
		case "cluster":
			store.ClusterSize = number(t, value)
		case "block":
			store.BlockSize = number(t, value)
		case "limit":
			store.NameLimit = int(number(t, value))
		default:
			t.Fatalf("nothing of a store: %q", word)
		}
	}
}

func fillStore(t rapid.TB, store *Listing, replica, drawn string) {
	t.Helper()
	var parents []string // UUIDs, by depth
	for line := range strings.Lines(drawn) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		depth := (len(line)-len(strings.TrimLeft(line, " \t")))/2 - 1
		require.True(t, 0 <= depth && depth <= len(parents), "%q is indented too far", line)
		l := lvolOf(t, *store, replica, words)
		if depth > 0 && !l.Degraded {
			l.Parent = parents[depth-1]
		}
		parents = append(parents[:depth], l.UUID)
		store.Lvols = append(store.Lvols, l)
	}
}

// lvolOf reads a line of a store:
//
//	NAME             a snapshot of the replica
//	head             its head
//	flight:ID        one of its lvols in flight, "flight:" alone Longhorn's own
//	spacer:ID        the same, but read-only
//	image:NAME       a backing image; filling:NAME: one that Longhorn downloads
//	lvol:NAME        any other, by its full name; snap:NAME: the same, read-only
//
// and behind it own=DATA/COUNT, own=MAP,CHECKSUM/COUNT, own=?/COUNT (unproven),
// size=CLUSTERS, at=MINUTE, system (not user-created), record=, uuid= and sha=
// (of an image; - for none), external=BDEV, degraded, and with that asleep: a snapshot
// without known clones. export=NQN, raid=NAME and claim=TYPE give its user; with ! at the
// end it must not be deleted.
func lvolOf(t rapid.TB, store Listing, replica string, words []string) Lvol {
	t.Helper()
	side := strings.TrimPrefix(store.UUID, "store-")
	l := Lvol{UUID: side + "-" + words[0], Size: fixtureSize * proofCluster}
	kind, name, special := strings.Cut(words[0], ":")
	switch {
	case words[0] == "head":
		l.Name = replica
	case !special:
		l.Name, l.ReadOnly = SnapshotLvolName(replica, words[0]), true
		l.Own = Clusters{Map: "nowhere", Checksum: "0"}
		l.Attributes = createdAt(0)
	case kind == "flight" || kind == "spacer":
		l.Name, l.ReadOnly = InFlightLvolName(replica, name), kind == "spacer"
		if name == "" {
			l.Name = replica + inFlightSuffix
		}
	case kind == "image" || kind == "filling":
		l.Name, l.ReadOnly, l.Size = ImageLvolName(name, store.UUID), true, fixtureSize/2*proofCluster
		l.Own, l.Image = ownClusters(name, 4), ImageRecord{UUID: "uuid-" + name, Checksum: "sha-" + name}
		if kind == "filling" {
			l.Name, l.ReadOnly, l.Own, l.Image = l.Name+imageTempSuffix, false, Clusters{Count: 1}, ImageRecord{}
		}
	case kind == "lvol" || kind == "snap":
		l.Name, l.ReadOnly = name, kind == "snap"
	default:
		t.Fatalf("no such lvol: %q", words[0])
	}
	for _, word := range words[1:] {
		setLvol(t, &l, word)
	}
	if !store.Proves {
		l.Own = Clusters{Count: l.Own.Count}
	}
	if !store.Records {
		l.Attributes, l.Record, l.Image = Attributes{}, "", ImageRecord{}
	}
	return l
}

func setLvol(t rapid.TB, l *Lvol, word string) {
	t.Helper()
	key, value, _ := strings.Cut(word, "=")
	known := func() string { return strings.TrimPrefix(value, "-") }
	switch key {
	case "own":
		data, count, _ := strings.Cut(value, "/")
		l.Own = ownClusters(data, number(t, count))
		if where, sum, differ := strings.Cut(data, ","); differ {
			l.Own.Map, l.Own.Checksum = where, sum
		}
		if data == "?" {
			l.Own.Map, l.Own.Checksum = "", ""
		}
	case "size":
		l.Size = number(t, value) * proofCluster
	case "at":
		l.Attributes.CreatedAt = createdAt(int(number(t, value))).CreatedAt
	case "system":
		l.Attributes.UserCreated = false
	case "record":
		l.Record = value
	case "uuid":
		l.Image.UUID = known()
	case "sha":
		l.Image.Checksum = known()
	case "writable":
		l.ReadOnly = false
	case "external":
		l.External = value
	case "degraded": // as a host lists it: by its name, and whether something may hang on it
		*l = Lvol{UUID: l.UUID, Name: l.Name, ReadOnly: l.ReadOnly, Degraded: true}
	case "asleep":
		l.ReadOnly = false
	case "export", "raid", "claim":
		kind := map[string]UserKind{"export": UserExport, "raid": UserRAID, "claim": UserClaim}[key]
		name, held := strings.CutSuffix(value, "!")
		l.UsedBy = User{Kind: kind, Name: name, NoDelete: held}
	default:
		t.Fatalf("nothing of an lvol: %q", word)
	}
}

func number(t rapid.TB, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err)
	return n
}

func (s fixture) replicas(t rapid.TB) (source, destination Replica) {
	t.Helper()
	source, err := NewReplica(s.source, sourceReplica)
	require.NoError(t, err)
	destination, err = NewDestination(s.destination, destinationReplica, source)
	require.NoError(t, err)
	return source, destination
}

// plan plans as a caller does: a contradictory listing is refused, too.
func (s fixture) plan() (Plan, error) {
	source, err := NewReplica(s.source, sourceReplica)
	if err != nil {
		return Plan{}, err
	}
	destination, err := NewDestination(s.destination, destinationReplica, source)
	if err != nil {
		return Plan{}, err
	}
	return PlanRebuild(source, destination, s.requested, s.options)
}

func (s fixture) mustPlan(t rapid.TB) Plan {
	t.Helper()
	plan, err := s.plan()
	require.NoError(t, err)
	return plan
}

// play carries out a plan, one operation after the other, in the listed order.
func (s fixture) play(t rapid.TB, plan Plan) fixture {
	t.Helper()
	model := NewStoreModel(s.destination, destinationReplica)
	for _, o := range plan.Operations {
		require.NoError(t, model.Apply(s.source, o))
	}
	s.destination = model.Listing()
	return s
}

func (s fixture) violations(t rapid.TB, image Base) []Violation {
	t.Helper()
	source, destination := s.replicas(t)
	violations, err := Verify(source, destination, image)
	require.NoError(t, err)
	return violations
}

// requireRefusal expects a Refusal that contains all parts.
func requireRefusal(t rapid.TB, err error, says ...string) {
	t.Helper()
	var refusal *Refusal
	require.ErrorAs(t, err, &refusal)
	for _, part := range says {
		require.ErrorContains(t, err, part)
	}
}

// stepOf is the plan's step for a snapshot; "" is the head.
func stepOf(t rapid.TB, plan Plan, snapshot string) Step {
	t.Helper()
	for _, step := range plan.Steps {
		if step.Snapshot == snapshot && step.Action != ActionFetchImage {
			return step
		}
	}
	t.Fatalf("no step for %q in\n%s", snapshot, planText(plan))
	return Step{}
}

// actions are the plan's actions by snapshot; the head is "head", the image "image".
func actions(plan Plan) map[string]Action {
	all := make(map[string]Action)
	for _, step := range plan.Steps {
		switch {
		case step.Action == ActionFetchImage:
			all["image"] = step.Action
		case step.Snapshot == "":
			all["head"] = step.Action
		default:
			all[step.Snapshot] = step.Action
		}
	}
	return all
}

// operationAt is the position of the only operation with that verb whose
// target is a listed lvol's UUID, or has that text.
func operationAt(t rapid.TB, plan Plan, verb Verb, target string) int {
	t.Helper()
	for i, o := range plan.Operations {
		if o.Verb == verb && (o.Target.id == target || o.Target.String() == target) {
			return i
		}
	}
	t.Fatalf("no %s of %q in\n%s", verb, target, planText(plan))
	return -1
}

// planText formats all of a plan.
func planText(plan Plan) string {
	var text strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	say("%s", plan.Base)
	for _, notice := range plan.Notices {
		say("notice: %s", notice)
	}
	for _, warning := range plan.Warnings {
		say("warning: %s", warning)
	}
	if system := plan.SystemSnapshot; system != nil {
		say("first the system snapshot %s of %s, then a new plan", system.LvolName, system.Head.Name)
	}
	say("\nsteps")
	for _, step := range plan.Steps {
		name := step.Snapshot
		if name == "" {
			name = "-"
		}
		deletes := ""
		if step.Deleted > 0 {
			deletes = fmt.Sprintf(" deletes %d,", step.Deleted)
		}
		say("  %s %s on %s, %d clusters,%s operations %v", step.Action, name, step.Parent.words(), step.Clusters, deletes, step.Operations)
		say("    %s", step.Reason)
	}
	say("\noperations")
	for i, o := range plan.Operations {
		say("  %d %s", i, operationText(o))
	}
	return text.String()
}

func operationText(o Operation) string {
	text := fmt.Sprintf("%s: %s %s", o.Stage, o.Verb, refText(o.Target))
	if o.Verb == VerbGraft || o.Verb == VerbClone || o.Verb == VerbSeal {
		text += " on " + refText(o.Parent)
	}
	if o.Name != "" {
		text += fmt.Sprintf(", named %s", o.Name)
	}
	if o.OldName != "" {
		text += fmt.Sprintf(", formerly %s", o.OldName)
	}
	if o.Size != 0 {
		text += fmt.Sprintf(", %d clusters long", o.Size/proofCluster)
	}
	if o.Source.Name != "" {
		text += fmt.Sprintf(", like %s with %d", o.Source.Name, o.Source.Clusters)
	}
	if o.Verb == VerbSeal && !o.Target.IsImage() {
		text += fmt.Sprintf(", created %s", o.Attributes.CreatedAt.Format("15:04"))
		if !o.Attributes.UserCreated {
			text += " by the system"
		}
	}
	if o.Image != nil {
		text += fmt.Sprintf(", image %s %s", o.Image.UUID, o.Image.Checksum)
	}
	if o.Record != "" {
		text += ", records " + o.Record
	}
	if len(o.After) > 0 {
		text += fmt.Sprintf(", after %v", o.After)
	}
	return text
}

func refText(r Ref) string {
	if uuid, ok := r.Listed(); ok {
		return uuid
	}
	return "(" + r.String() + ")"
}

// storeText formats a store as a tree.
func storeText(store Listing) string {
	children := make(map[string][]Lvol)
	for _, l := range store.Lvols {
		children[l.Parent] = append(children[l.Parent], l)
	}
	var text strings.Builder
	var show func(parent, indent string)
	show = func(parent, indent string) {
		of := children[parent]
		sort.Slice(of, func(i, j int) bool { return of[i].Name < of[j].Name })
		for _, l := range of {
			kind := ""
			if !l.ReadOnly {
				kind = ", writable"
			}
			if l.Record != "" {
				kind += ", records " + l.Record
			}
			fmt.Fprintf(&text, "%s%s with %d of %d%s\n", indent, l.Name, l.Own.Count, store.Clusters(l.Size), kind)
			show(l.UUID, indent+"  ")
		}
	}
	show("", "  ")
	return text.String()
}

// Apply plays one operation on a pure model of a store and returns the listing
// after it; store itself is not changed. It is stricter than a real store: a cycle,
// a delete of an lvol with clones, a taken name and a parent that is not sealed are
// errors. Own clusters are opaque; a copy gets those of its source.
//
// A new lvol gets the Ref's text as its UUID and, while it is in flight, a name
// derived from it.
func Apply(store, source Listing, replica string, operation Operation) (Listing, error) {
	model := NewStoreModel(store, replica)
	if err := model.Apply(source, operation); err != nil {
		return Listing{}, err
	}
	return model.Listing(), nil
}
