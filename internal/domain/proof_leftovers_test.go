package domain

import (
	"fmt"
	"time"
)

// This file is the alphabet of the proof: what a source can be, and what a
// lost replica can have left behind.

const (
	sourceReplica      = "vol-1-r-0a1b2c3d"
	destinationReplica = "vol-1-r-4e5f6a7b"
	proofImage         = "base"
	proofCluster       = 1 << 20
	proofSize          = 8 * proofCluster
)

// chooser makes the choices that turn the alphabet into one world: all of them
// one after the other, or some at random.
type chooser interface {
	choose(n int) int
}

// odometer makes every sequence of choices once.
type odometer struct {
	digits, limits []int
	at             int
}

func (o *odometer) choose(n int) int {
	if o.at == len(o.digits) {
		o.digits, o.limits = append(o.digits, 0), append(o.limits, n)
	}
	o.at++
	return o.digits[o.at-1]
}

// next turns to the next sequence, and reports whether there is one.
func (o *odometer) next() bool {
	o.at = 0
	for last := len(o.digits) - 1; last >= 0; last-- {
		if o.digits[last]++; o.digits[last] < o.limits[last] {
			o.digits, o.limits = o.digits[:last+1], o.limits[:last+1]
			return true
		}
	}
	return false
}

// world is a source, what is left on the destination, and what is known.
type world struct {
	source, destination Listing
	requested           Base
	options             Options
	upstream            bool
	outside             bool // the source reads through to a bdev outside, or is degraded: it is always refused
	otherVolume         bool // the source is named as a replica of another volume
	clones              bool // only linked clones are drawn; else none
	cloned              bool // others are linked clones of the destination's snapshots
}

// seen is what a host of the world's flavour would list of a model.
func (w world) seen(s Listing) Listing {
	if !w.upstream {
		return s
	}
	s.Proves, s.Records, s.RenamesSnapshots = false, false, false
	s.Lvols = append([]Lvol(nil), s.Lvols...)
	for i := range s.Lvols {
		l := &s.Lvols[i]
		l.Own = Clusters{Count: l.Own.Count}
		l.Attributes, l.Record = Attributes{}, ""
	}
	return s
}

func ownClusters(data string, count uint64) Clusters {
	return Clusters{Count: count, Map: data, Checksum: data}
}

func emptyStore(name string) Listing {
	return Listing{
		UUID: "store-" + name, Name: name, ClusterSize: proofCluster, BlockSize: 4096,
		TotalClusters: 1 << 30, FreeClusters: 1 << 30, NameLimit: 255, Proves: true, Records: true, RenamesSnapshots: true,
	}
}

func createdAt(minute int) Attributes {
	return Attributes{CreatedAt: time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC), UserCreated: true}
}

func imageLvol(store Listing) Lvol {
	return Lvol{
		UUID: "image-" + store.Name, Name: ImageLvolName(proofImage, store.UUID), Size: proofSize / 2, ReadOnly: true,
		Own: ownClusters("image", 4), Image: ImageRecord{UUID: "image", Checksum: "sha"},
	}
}

// drawSource draws a source whose snapshots s0, s1, … hang on parents as
// parentOf says (-1: the ancestor), with or without an image, healthy or hurt.
func drawSource(c chooser, parentOf []int, clones bool) world {
	w := world{source: emptyStore("a"), requested: NoBase(), clones: clones}
	w.source.Lvols = append(w.source.Lvols, Lvol{UUID: "else", Name: "vol-10-r-0a1b2c3d", Size: proofSize})
	root, outside := "", Lvol{}
	kind := cloned
	if clones {
		kind += c.choose(2)
	} else {
		kind = c.choose(5)
	}
	switch kind {
	case 1:
		w.requested = ImageBase(proofImage)
		w.source.Lvols = append(w.source.Lvols, imageLvol(w.source))
		root = imageLvol(w.source).UUID
	case 2: // hurt: the image is there, but nothing hangs on it
		w.requested = ImageBase(proofImage)
		w.options.AcceptHurtSource = true
		w.source.Lvols = append(w.source.Lvols, imageLvol(w.source))
	case 3:
		w.outside, outside.External = true, "nvme0n1"
	case 4:
		w.outside, outside.Degraded = true, true
	case cloned, cloned + 1:
		w.requested = CloneBase("vol-9", "daily")
		w.source.Lvols = append(w.source.Lvols, dailyLvols(proofSourceVolume)...)
		w.source.Lvols = append(w.source.Lvols, entryPointLvol(proofSourceVolume))
		root = entryPointLvol(proofSourceVolume).UUID
		if kind > cloned { // hurt: the entry point is there, but nothing hangs on it
			root, w.options.AcceptHurtSource = "", true
		}
	}
	parent := root
	for i, p := range parentOf {
		parent = root
		if p >= 0 {
			parent = fmt.Sprintf("source-s%d", p)
		}
		w.source.Lvols = append(w.source.Lvols, Lvol{
			UUID: fmt.Sprintf("source-s%d", i), Name: SnapshotLvolName(sourceReplica, fmt.Sprintf("s%d", i)),
			Parent: parent, Size: proofSize, ReadOnly: true, Own: ownClusters(fmt.Sprintf("data-%d", i), 2), Attributes: createdAt(i),
		})
		parent = fmt.Sprintf("source-s%d", i)
	}
	w.source.Lvols = append(w.source.Lvols, Lvol{UUID: "source-head", Name: sourceReplica, Parent: parent, Size: proofSize, Record: w.requested.Record()})
	for i := range w.source.Lvols {
		l := &w.source.Lvols[i]
		if _, ours := readingFor(*l, sourceReplica); !ours || l.Parent != "" && !outside.Degraded {
			continue
		}
		if l.External = outside.External; outside.Degraded { // and so is all that hangs on it
			*l = degraded(*l, l.UUID != "source-head")
		}
	}
	return w
}

// cloned is the first kind of a source that is a linked clone.
const cloned = 5

// The replicas of the source volume of linked clones.
const (
	proofSourceVolume     = "vol-9-r-0000000a"
	proofSourceVolumeHere = "vol-9-r-0000000b"
)

// dailyLvols are a replica of that volume: its snapshots weekly and daily, and its head.
func dailyLvols(replica string) []Lvol {
	return []Lvol{
		{UUID: "weekly", Name: SnapshotLvolName(replica, "weekly"), Size: proofSize, ReadOnly: true, Own: ownClusters("weekly", 1)},
		dailyLvol(replica),
		{UUID: "daily-head", Name: replica, Parent: "daily", Size: proofSize, Own: ownClusters("daily-head", 1)},
	}
}

func dailyLvol(replica string) Lvol {
	return Lvol{UUID: "daily", Name: SnapshotLvolName(replica, "daily"), Parent: "weekly", Size: proofSize, ReadOnly: true, Own: ownClusters("daily", 2)}
}

func entryPointLvol(replica string) Lvol {
	return Lvol{UUID: "entry-point", Name: EntryPointLvolName(replica, "daily"), Parent: "daily", Size: proofSize, ReadOnly: true}
}

// drawLeftovers draws what is left on the destination. A choice that would
// close a cycle is no world (ok is false).
func drawLeftovers(c chooser, w world, parentOf []int) (_ world, ok bool) {
	d := &remains{Listing: emptyStore("b"), chooser: c, world: w, parentOf: parentOf}
	w.upstream = c.choose(2) == 1 && !w.cloned
	d.drawImage()
	d.drawEntryPoint()
	d.drawForeignReplica()
	d.extra, d.spacer = c.choose(3), c.choose(3)
	d.alone = d.extra == 0 && d.spacer == 0 && !w.clones
	alphabet := letters
	if !d.alone { // that makes no difference to what is outside, and would double the proof
		alphabet = external
	}
	for range parentOf {
		d.letters = append(d.letters, letter(c.choose(int(alphabet))))
	}
	for i := range parentOf {
		d.drawSnapshot(i)
	}
	d.drawExtraAndSpacer()
	d.drawWritable()
	w.destination = d.Listing
	_, err := newIndex(d.Listing)
	return w, err == nil
}

// degraded is an lvol as a host lists it that cannot open it.
func degraded(l Lvol, hasClones bool) Lvol {
	return Lvol{UUID: l.UUID, Name: l.Name, ReadOnly: hasClones, Degraded: true}
}

// letter is what became of one snapshot of the source on the destination.
type letter int

const (
	absent letter = iota
	identical
	loose
	underWrongParent
	outdated // or forged: all that is cheap to look at is the same
	merged   // with what was deleted below it
	otherAttributes
	otherSize
	external       // a clone of an external snapshot
	degradedLeaf   // the external snapshot is gone, and nothing is known to hang on it
	degradedBranch // the same, and something may hang on it
	letters        // how many there are
)

// remains is the destination while it is drawn.
type remains struct {
	Listing
	chooser
	world         world
	parentOf      []int
	root          string // UUID of the base, if it is there
	daily         bool   // the snapshot that linked clones share is there
	extra, spacer int    // 0: none, 1: on the root, 2: on the newest leftover
	alone         bool   // there is neither
	letters       []letter
}

func (d *remains) add(l Lvol) { d.Lvols = append(d.Lvols, l) }

func (d *remains) drawImage() {
	if _, has := d.world.requested.Image(); !has {
		return
	}
	switch d.choose(3) {
	case 0: // absent
	case 1:
		d.add(imageLvol(d.Listing))
		d.root = imageLvol(d.Listing).UUID
	case 2: // somebody downloads it
		download := imageLvol(d.Listing)
		download.Name += imageTempSuffix
		download.ReadOnly, download.Own = false, ownClusters("part", 1)
		d.add(download)
	}
}

func (d *remains) drawEntryPoint() {
	if !d.world.clones {
		return
	}
	d.add(dailyLvols(proofSourceVolumeHere)[0])
	e := entryPointLvol(proofSourceVolumeHere)
	kind := d.choose(6)
	if kind == 0 { // not even the snapshot
		return
	}
	d.daily = true
	for _, l := range dailyLvols(proofSourceVolumeHere)[1:] {
		d.add(l)
	}
	switch kind {
	case 1: // absent
		return
	case 2: // right
	case 3:
		e.Parent = ""
	case 4:
		e.Parent = "weekly"
	case 5: // right, and somebody else's base
		d.add(Lvol{UUID: "other-clone", Name: "vol-5-r-0000000b", Parent: e.UUID, Size: proofSize, Own: ownClusters("other-clone", 1)})
	}
	d.add(e)
	d.root = e.UUID
}

// drawForeignReplica: another one on the same store, to hang on by mistake.
func (d *remains) drawForeignReplica() {
	d.add(Lvol{UUID: "foreign-snap", Name: "vol-10-r-4e5f6a7b-snap-s0", Size: proofSize, ReadOnly: true, Own: ownClusters("foreign", 3)})
	d.add(Lvol{UUID: "foreign-head", Name: "vol-10-r-4e5f6a7b", Size: proofSize, Parent: "foreign-snap"})
}

// rightParent is where a leftover would hang on a healthy replica, or the root
// where that is not there.
func (d *remains) rightParent(i int) string {
	if p := d.parentOf[i]; p >= 0 && d.letters[p].opens() {
		return leftUUID(p)
	}
	return d.root
}

// opens reports whether a leftover is there that others can hang on.
func (l letter) opens() bool { return l != absent && l != degradedLeaf && l != degradedBranch }

func leftUUID(i int) string { return fmt.Sprintf("left-s%d", i) }

func (d *remains) wrongParents(i int) []string {
	possible := []string{"foreign-snap"}
	if d.daily {
		possible = append(possible, "daily")
	}
	for other := range d.parentOf {
		if other != i && d.letters[other].opens() && leftUUID(other) != d.rightParent(i) {
			possible = append(possible, leftUUID(other))
		}
	}
	if d.extra > 0 {
		possible = append(possible, "left-extra")
	}
	if d.spacer > 0 {
		possible = append(possible, "left-spacer")
	}
	return possible
}

func (d *remains) drawSnapshot(i int) {
	l := Lvol{
		UUID: leftUUID(i), Name: SnapshotLvolName(destinationReplica, fmt.Sprintf("s%d", i)), Parent: d.rightParent(i),
		Size: proofSize, ReadOnly: true, Own: ownClusters(fmt.Sprintf("data-%d", i), 2), Attributes: createdAt(i),
	}
	switch d.letters[i] {
	case absent:
		return
	case loose:
		l.Parent = ""
	case underWrongParent:
		wrong := d.wrongParents(i)
		l.Parent = wrong[d.choose(len(wrong))]
	case outdated:
		l.Own = ownClusters(fmt.Sprintf("stale-%d", i), 2)
	case merged:
		l.Own = ownClusters(fmt.Sprintf("merged-%d", i), 3)
	case otherAttributes:
		l.Attributes = createdAt(59)
	case otherSize:
		l.Size -= proofCluster
	case external:
		l.Parent, l.External = "", "nvme0n1"
	case degradedLeaf, degradedBranch:
		l = degraded(l, d.letters[i] == degradedBranch)
	}
	d.add(l)
}

// newest is the last leftover of a snapshot, or the root.
func (d *remains) newest() string {
	for i := len(d.letters) - 1; i >= 0; i-- {
		if d.letters[i].opens() {
			return leftUUID(i)
		}
	}
	return d.root
}

func (d *remains) drawExtraAndSpacer() {
	on := map[int]string{1: d.root, 2: d.newest()}
	if d.extra > 0 {
		d.add(Lvol{UUID: "left-extra", Name: SnapshotLvolName(destinationReplica, "extra"), Parent: on[d.extra], Size: proofSize, ReadOnly: true, Own: ownClusters("extra", 1)})
	}
	if d.spacer > 0 {
		d.add(Lvol{UUID: "left-spacer", Name: InFlightLvolName(destinationReplica, "0000aaaa"), Parent: on[d.spacer], Size: proofSize, ReadOnly: true})
	}
}

// drawWritable draws what hangs on all this: an lvol in flight, a head, and
// another feature's clone.
func (d *remains) drawWritable() {
	flight := d.choose(3)
	if where := flight; where > 0 {
		d.add(Lvol{UUID: "left-flight", Name: InFlightLvolName(destinationReplica, "0000bbbb"), Parent: []string{"", "", d.newest()}[where], Size: proofSize, Own: ownClusters("part", 1)})
	}
	head := Lvol{UUID: "left-head", Name: destinationReplica, Parent: d.newest(), Size: proofSize, Record: d.world.requested.Record()}
	heads := 4
	if d.alone {
		heads = 6
	}
	was := d.choose(heads)
	switch was {
	case 0: // absent
	case 1: // right, if all else is
		d.add(head)
	case 2:
		head.Own = ownClusters("written", 1)
		d.add(head)
	case 3:
		if head.Parent, head.Record = "foreign-snap", ""; d.daily {
			head.Parent = "daily"
		}
		d.add(head)
	case 4: // another engine's rebuild did not end
		head.Parent, head.External, head.Record = "", "nvme0n1", ""
		d.add(head)
	case 5:
		d.add(degraded(head, false))
	}
	fetched := d.root == "" && d.world.requested.Any()
	d.drawClones(flight == 0 && was < 2 && d.extra == 0 && d.spacer == 0 && !fetched)
}

// drawClones draws another feature's clone, or an entry point of linked clones: beside all
// else at random, or beside little else, since it doubles the proof.
func (d *remains) drawClones(littleElse bool) {
	var opening []int
	for i, l := range d.letters {
		if l.opens() && (d.world.cloned || littleElse) {
			opening = append(opening, i)
		}
	}
	if d.world.cloned && len(opening) > 0 {
		d.drawLinkedClone(opening[d.choose(len(opening))])
		d.drawMoreLinkedClones(opening)
		return
	}
	switch where := d.choose(3 + len(opening)); {
	case where > 2:
		d.drawLinkedClone(opening[where-3])
	case where > 0:
		d.add(Lvol{UUID: "foreign-clone", Name: destinationReplica + "-clone-ep-1", Parent: []string{"", d.root, d.newest()}[where], Size: proofSize, Own: ownClusters("clone", 1)})
	}
}

// drawLinkedClone draws an entry point on a leftover, with a linked clone.
func (d *remains) drawLinkedClone(i int) {
	name := fmt.Sprintf("s%d", i)
	d.addLinkedClone(name, leftUUID(i))
}

func (d *remains) addLinkedClone(snapshot, parent string) {
	e := Lvol{UUID: "ep-" + snapshot, Name: EntryPointLvolName(destinationReplica, snapshot), Parent: parent, Size: proofSize, ReadOnly: true}
	for _, l := range d.Lvols {
		if l.UUID == parent {
			e.Size = l.Size
		}
	}
	d.add(e)
	d.add(Lvol{UUID: "clone-" + snapshot, Name: "vol-7-r-000000" + snapshot, Parent: e.UUID, Size: proofSize, Own: ownClusters("clone-"+snapshot, 1)})
}

// drawMoreLinkedClones draws entry points on other leftovers, without clones, on the wrong
// lvol, or of a snapshot that the source does not have.
func (d *remains) drawMoreLinkedClones(opening []int) {
	drawn := d.Lvols[len(d.Lvols)-1].UUID
	for _, i := range opening {
		if d.choose(3) == 0 && drawn != fmt.Sprintf("clone-s%d", i) {
			d.drawLinkedClone(i)
		}
	}
	switch d.choose(16) {
	case 0:
		if d.extra > 0 {
			d.addLinkedClone("extra", "left-extra")
		}
	case 1:
		d.Lvols = d.Lvols[:len(d.Lvols)-1] // the clone
	case 2:
		d.Lvols[len(d.Lvols)-2].Parent = d.newest()
	case 3:
		if d.spacer > 0 { // a run has ended early
			d.Lvols[len(d.Lvols)-2].Parent = "left-spacer"
		}
	case 4: // it has lost its snapshot
		d.Lvols[len(d.Lvols)-2].Parent = ""
	}
}
