package spdk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// bdev is what is read of bdev_get_bdevs. spdktypes.BdevInfo decodes every
// driver's fields, and a listing would fail on a bdev that is none of ours.
type bdev struct {
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
		Lvol *lvolDriver `json:"lvol"`
	} `json:"driver_specific"`
}

// lvolDriver is what is read of an lvol's driver_specific.
type lvolDriver struct {
	LvolStoreUUID string   `json:"lvol_store_uuid"`
	BaseSnapshot  string   `json:"base_snapshot"`
	Snapshot      bool     `json:"snapshot"`
	Clones        []string `json:"clones"`

	// External is the bdev that an esnap clone reads through to. It keeps its name
	// where that bdev was removed beside the living target.
	External string `json:"external_snapshot_name"`

	// Esnap is true of an esnap clone, also where its external bdev has no name.
	Esnap bool `json:"esnap_clone"`

	// Own is the number of own clusters. nil, since a target did not tell it, is not 0.
	Own *uint64 `json:"num_allocated_clusters"`
}

// nameless is what an external snapshot is called that its target has no name for.
const nameless = "unknown"

// external is the external snapshot that an esnap clone reads through to; "": it is none.
func (l *lvolDriver) external() string {
	if l.External == "" && l.Esnap {
		return nameless
	}
	return l.External
}

// requireOwn refuses an answer without the number of own clusters: a head that has some
// would be taken for an empty one.
func (b *bdev) requireOwn() error {
	if b.Driver.Lvol.Own == nil {
		return fmt.Errorf("the target does not tell how many clusters lvol %s has of its own (num_allocated_clusters): %w", b.name(), ports.ErrUnsupported)
	}
	return nil
}

// own is the number of own clusters.
func (b *bdev) own() uint64 { return *b.Driver.Lvol.Own }

// readOnly tells a snapshot, also one that is asleep: vbdev_lvol_io_type_supported
// answers for writes by spdk_blob_is_read_only, which is kept in the blob's own
// metadata; "snapshot" is worked out from its clones.
func (b *bdev) readOnly() bool { return !b.Supported.Write }

// asleep: a snapshot that the target has not met a clone of since it started.
func (b *bdev) asleep() bool { return b.readOnly() && !b.Driver.Lvol.Snapshot }

func (b *bdev) size() uint64 { return b.BlockSize * b.NumBlocks }

// name is the lvol's name, by its alias.
func (b *bdev) name() string {
	for _, alias := range b.Aliases {
		if _, name, ok := strings.Cut(alias, "/"); ok {
			return name
		}
	}
	return b.Name
}

func (b *bdev) lvol(parent string) domain.Lvol {
	return domain.Lvol{
		UUID:     b.UUID,
		Name:     b.name(),
		Parent:   parent,
		External: b.Driver.Lvol.external(),
		Size:     b.size(),
		ReadOnly: b.readOnly(),
		Own:      domain.Clusters{Count: b.own()},
	}
}

// degraded is an lvol that is listed without a bdev: the target cannot open it, since
// what it reads through to is missing.
func (l *lvolInfo) degraded() domain.Lvol {
	return domain.Lvol{UUID: l.UUID, Name: l.Name, ReadOnly: l.IsSnapshot, Degraded: true}
}

func (h *Host) alias(name string) string { return spdktypes.GetLvolAlias(h.storeName, name) }

// getBdev asks for one bdev by UUID or alias.
func getBdev(name string, into *[]bdev) *call {
	return newCall("bdev_get_bdevs", spdktypes.BdevGetBdevsRequest{Name: name}, into)
}

// find looks at one lvol of this lvstore.
func (h *Host) find(ctx context.Context, uuid string) (*bdev, error) {
	var found []bdev
	ask := getBdev(uuid, &found)
	h.rpc.do(ctx, ask)
	return h.ours(ask, uuid, found)
}

// findBoth looks at two lvols in one write.
func (h *Host) findBoth(ctx context.Context, one, other string) (*bdev, *bdev, error) {
	var first, second []bdev
	a, b := getBdev(one, &first), getBdev(other, &second)
	h.rpc.do(ctx, a, b)
	x, err := h.ours(a, one, first)
	if err != nil {
		return nil, nil, err
	}
	y, err := h.ours(b, other, second)
	return x, y, err
}

func (h *Host) ours(ask *call, uuid string, found []bdev) (*bdev, error) {
	if ask.err != nil {
		if errors.Is(ask.err, ports.ErrNotFound) {
			return nil, fmt.Errorf("lvol %s: %w", uuid, ask.err)
		}
		return nil, ask.err
	}
	for i := range found {
		if b := &found[i]; b.Driver.Lvol != nil && b.Driver.Lvol.LvolStoreUUID == h.storeUUID {
			if err := b.requireOwn(); err != nil {
				return nil, err
			}
			return b, nil
		}
	}
	return nil, fmt.Errorf("%s is no lvol of lvstore %s: %w", uuid, h.storeName, ports.ErrNotFound)
}
