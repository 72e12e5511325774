package scenario

import "time"

// APIVersion is the apiVersion of every file.
const APIVersion = "rebuild/v1"

// NoParent means that there is no parent, where an empty Parent means the default. No
// snapshot can have this name.
const NoParent = "none"

// Scenario describes the replicas of one volume on two hosts and how to rebuild. The zero
// value of every field that has a default is that default.
type Scenario struct {
	Volume      Volume
	Image       *BackingImage // nil: the volume has none
	Base        *Base         // nil: the volume is no linked clone; excludes Image
	Source      Source
	Destination Destination
	Options     Options
	Online      *Online // nil: nobody uses the volume meanwhile
	Runs        int     // rebuilds one after the other, 1 to 100; 0: 1
	Faults      []Fault // faults of the runs

	origin origin // zero for a Scenario without a file
}

// Volume is the volume of both replicas.
type Volume struct {
	Name        string
	Size        uint64 // bytes, whole clusters, at most 64 TiB
	ClusterSize uint64 // bytes, a power of two from 4 KiB to 1 GiB; 0: 1 MiB
}

// BackingImage is a volume's backing image. The source's host always has it.
type BackingImage struct {
	Name   string
	Size   uint64  // bytes, whole clusters, not more than the volume has
	Writes []Write // its bytes, zeros elsewhere

	// File holds the bytes instead of Size and Writes, padded with zeros to a whole
	// cluster: a raw image or qcow2. A relative path starts at the scenario file's
	// directory.
	File string
}

// Base makes the volume a linked clone: its ancestor's parent is an entry point, an
// empty child of a snapshot of another volume, the source volume. Both hosts have a replica of
// that volume: its name and -r-0000000a on the source's, -r-0000000b on the destination's.
type Base struct {
	Volume    string        // the source volume
	Snapshot  string        // one of Snapshots
	Image     *BackingImage // of the source volume; nil: it has none
	Snapshots []Snapshot    // of the source volume, in any order; the last is its head's parent

	Destination BaseState  // of the source volume on the destination; "": BasePresent
	OtherTree   []Snapshot // other snapshots of the source volume there; nil: as Destination says
}

// BaseState tells how much of the source volume the destination's host has.
type BaseState string

// States of a base on the destination.
const (
	BasePresent      BaseState = "present"        // the same as the source's host
	BaseNoEntryPoint BaseState = "no-entry-point" // the replica and the image
	BaseNoSnapshot   BaseState = "no-snapshot"    // these without the snapshot; its clones have its parent
	BaseAbsent       BaseState = "absent"         // neither replica nor image
)

// Write writes the first Length bytes of the generator with that seed at Offset. Every
// cluster that it touches becomes the lvol's own.
type Write struct {
	Offset uint64 // bytes
	Length uint64 // bytes; 0 touches nothing
	Seed   uint64
}

// Source is the healthy replica.
type Source struct {
	Replica string // its name; "": the volume's name and -r-1

	// Hurt: after all writes, the ancestor (the head of a replica without snapshots)
	// lost its image or its entry point on this host.
	Hurt      bool
	Snapshots []Snapshot // in any order
	Head      *Head      // nil: a clone of the last of Snapshots, without writes
}

// Destination describes the leftovers of the lost replica and their store.
type Destination struct {
	Replica string // its name; "": the volume's name and -r-2

	ImageAbsent bool        // the volume's backing image is not on this host
	OtherImage  *OtherImage // another one has its name; nil: it is the volume's

	ClusterSize  uint64  // bytes, a power of two from 4 KiB to 1 GiB; 0: the volume's
	FreeClusters *uint64 // besides the lvols here; nil: plenty
	Upstream     bool    // a host without maps, checksums and attributes, with names of at most 63 bytes

	Snapshots []Leftover // in any order
	Head      *Head      // nil: none
	Lvols     []Lvol     // all other lvols on the store
}

// OtherImage is another image with the name of the volume's image.
type OtherImage struct {
	UUID   string  // "": another one than ImageUUID, which is the volume's
	Size   uint64  // bytes, whole clusters of the destination; 0: as the volume's image
	Writes []Write // nil: the bytes of the volume's image
}

// Snapshot is one of a replica's snapshots.
type Snapshot struct {
	Name   string // without the replica's name
	Parent string // a snapshot of the replica; "" or NoParent: it is the ancestor
	Size   uint64 // bytes, whole clusters; 0: the volume's. Older snapshots of an expanded volume are smaller

	// CreatedAt is kept in whole seconds. The zero time is the default:
	// 2026-01-01T00:00:00Z and a minute for each snapshot listed before.
	CreatedAt   time.Time
	UserCreated *bool // nil: true
	Writes      []Write
}

// Leftover is a snapshot that the destination still has. Its Parent may also be the full
// name of one of Destination.Lvols, or of an lvol of the base; NoParent is none, and "" is
// the image or the entry point on that host, or none if the host has neither. The default of CreatedAt is that of the source's snapshot of
// the same name, or later than all of the source's. The default of Size is the volume's.
type Leftover struct {
	Snapshot

	// LikeSource: own clusters, attributes, size and parent are those of the source's
	// snapshot of that name (the default parent, if that one is not here), except for the
	// fields that are given. Writes count as given if they are not nil.
	LikeSource bool
}

// Head is the head of a replica.
type Head struct {
	Parent string // as a snapshot's on the same host; "": the last listed snapshot, or the image or entry point if there is none
	Writes []Write
}

// Lvol is any other lvol on the destination's store.
type Lvol struct {
	Name     string
	Parent   string // a snapshot of the destination by its short name, or another of these or an lvol of the base by its full name; "" or NoParent: none
	Size     uint64 // bytes, whole clusters; 0: the volume's
	Snapshot bool   // false: it is writable
	Writes   []Write
}

// Options are the options of the rebuild.
type Options struct {
	Fast             *bool // keep snapshots that are proven identical; nil: true
	Parallel         int   // copies at a time, 1 to 1024; 0: 4
	AcceptHurtSource bool
	Overwrite        bool // confirms that the destination's data may be lost
}
