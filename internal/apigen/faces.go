package main

// face is one public package: what of which internal packages it shows.
type face struct {
	file    string // from the module's root
	name    string // of the package
	exports []export
}

// export is what a face shows of one internal package. The constants and
// methods of a type come with it; a block of constants or variables is named by
// any one of them.
type export struct {
	dir     string // from the module's root
	symbols []string
}

// faces is the choice: what an embedder and the author of an adapter need. The
// generator refuses it when something that is shown mentions what is not.
var faces = []face{
	{
		file: "api.go", name: "rebuild",
		exports: []export{
			{dir: "internal/app", symbols: []string{
				"Site", "DefaultParallel", "ErrRefused",
				"Report", "SourceReport", "SourceState", "Outcome", "Observer", "OnWaiting", "Event", "EventKind", "Views",
				"ImageRequest", "ImageReport", "ImageCheck", "Sparse", "Changing",
				"Limits", "DefaultPerSource", "ErrClosed", "Status", "Phase", "Using", "ErrEnded",
				"Garbage", "Leaving",
				"AuditRequest", "AuditReport", "UnclearReplica", "RepairRequest", "RepairReport", "RevertRequest",
			}},
			{dir: "internal/ports", symbols: []string{
				"Host", "Store", "Looker", "SealRecord", "Snapshotter",
				"Copier", "Run", "Address", "Peer", "Progress",
				"Prover", "KnownProver", "Recorder", "Limiter", "LeastLimiter", "Merger", "Counter", "Gauge", "Opener", "Bytes", "Claimer", "Leaser", "Lease", "HeldError", "Identifier", "Collector", "Opened", "Ender", "Preparer", "ErrNotFound", "Retryable",
				"Journal", "Entry", "Began", "Sealed", "Ended", "OutcomeKilled", "Decided", "Served",
			}},
			{dir: "internal/domain", symbols: []string{
				"Listing", "Lvol", "User", "UserKind", "Clusters", "Attributes", "ImageRecord", "RecordNoImage",
				"Image", "ImageNamed", "NoImage", "BackingImage",
				"Replica", "NewReplica", "Snapshot", "Parent",
				"Options", "Sealing", "Plan", "Step", "Action", "Operation", "Verb", "Stage", "Ref", "Origin", "SystemSnapshot", "Deletion", "LossRefusal",
				"Violation", "RuleAncestorParent", "RuleOneRoot", "ImageOnStore", "ImageState",
				"Leftover", "Survey", "Unclear", "Audit", "ReplicaAudit", "VolumeAudit", "Difference", "Group", "SnapshotRemoval", "Revert", "VolumeOfReplica",
				"SnapshotLvolName", "InFlightLvolName", "ReplicaInFlight",
				"ImageLvolName", "ImageOfLvolName", "ImageInFlightLvolName", "IsImageInFlight",
				"CheckReplicaName", "CheckSnapshotName", "CheckImageName", "IsImageUUID", "CheckSHA512",
			}},
		},
	},
	{
		file: "memhost/api.go", name: "memhost",
		exports: []export{{dir: "internal/adapters/memory", symbols: []string{
			"Fabric", "NewFabric", "Config", "Flavour", "Host", "Call", "Fault", "Spoil",
		}}},
	},
	{
		file: "spdkhost/api.go", name: "spdkhost",
		exports: []export{{dir: "internal/adapters/spdk", symbols: []string{
			"Host", "Open", "Config", "Dialer", "DefaultTimeout",
		}}, {dir: "internal/adapters/spdk/nvmf", symbols: []string{
			"Listen", "DefaultListen", "PortAllocator", "HostNQNs",
		}}},
	},
	{
		file: "storetest/api.go", name: "storetest",
		exports: []export{{dir: "internal/ports/porttest", symbols: []string{
			"Run", "Harness", "Instance",
		}}},
	},
}

// The rules for every method stand in the package comment of ports, which
// nobody outside can read. They are shown with the interface that they are for,
// from this line on.
const (
	rulesHolder = "Host"
	rulesBegin  = "Rules that hold for every method:"
)
