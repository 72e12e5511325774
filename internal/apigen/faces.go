package main

// face is a public package that shows parts of internal packages.
type face struct {
	file    string // relative to the module's root
	name    string // of the package
	exports []export
}

// export lists the symbols of one internal package that a face shows. A type includes its
// methods and constants; any name of a block of constants or variables stands for the
// block.
type export struct {
	dir     string // relative to the module's root
	symbols []string
}

// faces lists what embedders and authors of adapters need. apigen fails if a symbol in it
// mentions one that is not in it.
var faces = []face{
	{
		file: "api.go", name: "rebuild",
		exports: []export{
			{dir: "internal/app", symbols: []string{
				"Site", "DefaultParallel", "ErrRefused", "ErrCleanUp", "ErrAtWork",
				"Report", "OnlineReport", "DefaultFreezeLimit", "SourceReport", "SourceState", "Outcome", "Observer", "OnWaiting", "Event", "EventKind", "Views",
				"ImageRequest", "ImageReport", "ImageCheck", "Sparse", "Changing",
				"Limits", "DefaultPerSource", "ErrClosed", "Status", "Phase", "Using", "ErrEnded",
				"Garbage", "Leaving",
				"AuditRequest", "AuditReport", "UnclearReplica", "RepairRequest", "RepairReport", "RevertRequest",
				"VolumeRequest", "VolumeReport", "VolumeCheck", "VolumeSnapshot", "VolumeRemoval", "VolumePurge",
			}},
			{dir: "internal/ports", symbols: []string{
				"Host", "Store", "Looker", "SealRecord", "Snapshotter",
				"Copier", "Sender", "Receiver", "Releaser", "Source", "SourceOnly", "Run", "Address", "Peer", "Progress",
				"Prover", "KnownProver", "Recorder", "Limiter", "LeastLimiter", "Merger", "Renamer", "Counter", "Gauge", "Opener", "Bytes", "Claimer", "Leaser", "Lease", "HeldError", "Identifier", "Collector", "Opened", "Ender", "Preparer", "ErrNotFound", "Retryable",
				"Live", "Way", "Mirror", "Freezer", "FreezeChecker", "ErrNotFrozen", "Cutter", "Maker",
				"Journal", "Entry", "Began", "Sealed", "Ended", "OutcomeKilled", "Decided", "Served",
			}},
			{dir: "internal/domain", symbols: []string{
				"Listing", "Lvol", "User", "UserKind", "Clusters", "Attributes", "ImageRecord", "RecordNoBase",
				"Base", "ImageBase", "CloneBase", "NoBase", "BaseOfRecord", "BackingImage", "EntryPoint", "PlacedClone",
				"Replica", "NewReplica", "Snapshot", "Parent",
				"Options", "Sealing", "Plan", "Step", "Action", "Operation", "Verb", "Stage", "Ref", "Origin", "SystemSnapshot", "Deletion", "LossRefusal",
				"Violation", "RuleAncestorParent", "RuleOneRoot", "ImageOnStore", "ImageState",
				"Leftover", "Survey", "EntryPointOnStore", "Unclear", "Audit", "ReplicaAudit", "VolumeAudit", "Difference", "Group", "SnapshotRemoval", "Revert", "VolumeOfReplica",
				"SnapshotLvolName", "InFlightLvolName", "ReplicaInFlight",
				"ImageLvolName", "ImageOfLvolName", "ImageInFlightLvolName", "IsImageInFlight",
				"Volume", "VolumeReplica", "Member", "Mode", "Purge",
				"CheckReplicaName", "CheckSnapshotName", "CheckImageName", "IsImageUUID", "CheckSHA512",
			}},
		},
	},
	{
		file: "memhost/api.go", name: "memhost",
		exports: []export{{dir: "internal/adapters/memory", symbols: []string{
			"Fabric", "NewFabric", "Config", "Flavour", "Host", "Call", "Fault", "Spoil",
			"Mirror", "MirrorConfig", "Head", "CuttingMirror", "DefaultDropAfter",
		}}},
	},
	{
		file: "freezer/api.go", name: "freezer",
		exports: []export{{dir: "internal/adapters/freezer", symbols: []string{
			"Freezer", "Func", "None", "Commands", "DefaultTimeout",
		}}},
	},
	{
		file: "spdkhost/api.go", name: "spdkhost",
		exports: []export{{dir: "internal/adapters/spdk", symbols: []string{
			"Host", "Open", "Config", "Dialer", "DefaultTimeout",
		}}, {dir: "internal/adapters/spdk/nvmf", symbols: []string{
			"Listen", "DefaultListen", "PortAllocator", "HostNQNs",
		}}, {dir: "internal/adapters/spdk/raid", symbols: []string{
			"Mirror", "OpenMirror", "MirrorConfig",
		}}},
	},
	{
		file: "storetest/api.go", name: "storetest",
		exports: []export{{dir: "internal/ports/porttest", symbols: []string{
			"Run", "RunMirror", "Harness", "Instance", "Mirrored", "Volume",
		}}},
	},
}

// The comment of package ports has the rules for all methods, from this line on. They are
// shown with the interface that they are for.
const (
	rulesHolder = "Host"
	rulesBegin  = "Rules that hold for every method:"
)
