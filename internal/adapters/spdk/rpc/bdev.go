package rpc

import (
	"encoding/json"
	"fmt"
	"strings"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Bdev is what is read of bdev_get_bdevs. spdktypes.BdevInfo decodes every
// driver's fields, and a listing would fail on a bdev that is none of ours.
type Bdev struct {
	Name      string   `json:"name"`
	Aliases   []string `json:"aliases"`
	UUID      string   `json:"uuid"`
	BlockSize uint64   `json:"block_size"`
	NumBlocks uint64   `json:"num_blocks"`
	Claimed   bool     `json:"claimed"`
	ClaimType string   `json:"claim_type"`
	Limits    struct {
		Mbytes uint64 `json:"rw_mbytes_per_sec"`
	} `json:"assigned_rate_limits"`
	Supported spdktypes.SupportedIoTypes `json:"supported_io_types"`
	Driver    struct {
		Lvol *Lvol           `json:"lvol"`
		NVMe json.RawMessage `json:"nvme"` // nil: it is no namespace of a controller
	} `json:"driver_specific"`
}

// Controller is the name of the controller that a namespace is of; "": it is none.
func (b *Bdev) Controller() string {
	at := strings.LastIndexByte(b.Name, 'n') // <controller>n<namespace ID>
	if b.Driver.NVMe == nil || at < 0 {
		return ""
	}
	return b.Name[:at]
}

// Lvol is what is read of an lvol's driver_specific.
type Lvol struct {
	LvolStoreUUID string   `json:"lvol_store_uuid"`
	BaseSnapshot  string   `json:"base_snapshot"`
	Snapshot      bool     `json:"snapshot"`
	Clones        []string `json:"clones"`

	// ExternalName is the bdev that an esnap clone reads through to. It keeps its name
	// where that bdev was removed beside the living target.
	ExternalName string `json:"external_snapshot_name"`

	// Esnap is true of an esnap clone, also where its external bdev has no name.
	Esnap bool `json:"esnap_clone"`

	// Clusters is the number of own clusters. nil, since a target did not tell it, is not 0.
	Clusters *uint64 `json:"num_allocated_clusters"`
}

// nameless is what an external snapshot is called that its target has no name for.
const nameless = "unknown"

// External is the external snapshot that an esnap clone reads through to; "": it is none.
func (l *Lvol) External() string {
	if l.ExternalName == "" && l.Esnap {
		return nameless
	}
	return l.ExternalName
}

// RequireOwn refuses an answer without the number of own clusters: a head that has some
// would be taken for an empty one.
func (b *Bdev) RequireOwn() error {
	if b.Driver.Lvol.Clusters == nil {
		return fmt.Errorf("the target does not tell how many clusters lvol %s has of its own (num_allocated_clusters): %w", b.LvolName(), ports.ErrUnsupported)
	}
	return nil
}

// Own is the number of own clusters.
func (b *Bdev) Own() uint64 { return *b.Driver.Lvol.Clusters }

// ReadOnly tells a snapshot, also one that is asleep: vbdev_lvol_io_type_supported
// answers for writes by spdk_blob_is_read_only, which is kept in the blob's own
// metadata; "snapshot" is worked out from its clones.
func (b *Bdev) ReadOnly() bool { return !b.Supported.Write }

// Asleep tells a snapshot that the target has not met a clone of since it started.
func (b *Bdev) Asleep() bool { return b.ReadOnly() && !b.Driver.Lvol.Snapshot }

// Size is in bytes.
func (b *Bdev) Size() uint64 { return b.BlockSize * b.NumBlocks }

// LvolName is the lvol's name, by its alias.
func (b *Bdev) LvolName() string {
	for _, alias := range b.Aliases {
		if _, name, ok := strings.Cut(alias, "/"); ok {
			return name
		}
	}
	return b.Name
}

// Loose reports whether an lvol has no parent.
func (b *Bdev) Loose() bool {
	return b.Driver.Lvol.BaseSnapshot == "" && b.Driver.Lvol.External() == ""
}

// GetBdevs lists all bdevs.
func GetBdevs() *CallOf[[]Bdev] { return get[[]Bdev](methodGetBdevs, nil) }

// GetBdev finds one bdev, by its name, its UUID or an alias.
func GetBdev(name string) *CallOf[[]Bdev] {
	return get[[]Bdev](methodGetBdevs, spdktypes.BdevGetBdevsRequest{Name: name})
}

const methodGetBdevs = "bdev_get_bdevs"

// Iostat is the result of GetIostat; go-spdk-helper's lacks the errors, which are
// counted by status.
type Iostat struct {
	Bdevs []struct {
		Errors map[string]uint64 `json:"io_error"`
	} `json:"bdevs"`
}

// Failed is the number of I/Os that have failed.
func (s *Iostat) Failed() (n uint64) {
	for _, b := range s.Bdevs {
		for _, count := range b.Errors {
			n += count
		}
	}
	return n
}

// GetIostat counts the I/O of a bdev.
func GetIostat(bdev string) *CallOf[Iostat] {
	return get[Iostat]("bdev_get_iostat", spdktypes.BdevIostatRequest{Name: bdev})
}

// qosRequest sets what is not a pointer; go-spdk-helper has no type for it.
type qosRequest struct {
	Name   string `json:"name"`
	Mbytes uint64 `json:"rw_mbytes_per_sec"`
}

// NoLimit is a limit, in MiB a second, that nothing reaches: a TiB. Upstream SPDK refuses
// what overflows as it converts.
//
// SPDK's own 0 is never asked for. To lift a limit, a target goes through all channels of
// the bdev and then forgets the limit; a channel that is opened in between, by an export
// or a copy, still counts on it, and its next write crashes the target
// (bdev_disable_qos_done and bdev_qos_queue_io in bdev.c; seen on upstream SPDK).
const NoLimit = 1 << 20

// LimitBdev limits a bdev to so many MiB a second.
func LimitBdev(bdev string, mib uint64) *Call {
	return change("bdev_set_qos_limit", qosRequest{Name: bdev, Mbytes: mib})
}
