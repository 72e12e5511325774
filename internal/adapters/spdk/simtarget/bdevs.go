package simtarget

import (
	"syscall"
	"time"
)

// bdevInfo is a bdev as bdev_get_bdevs lists it.
type bdevInfo struct {
	Name      string   `json:"name"`
	Aliases   []string `json:"aliases"`
	Product   string   `json:"product_name"`
	BlockSize uint64   `json:"block_size"`
	Blocks    uint64   `json:"num_blocks"`
	*preferences
	UUID       string         `json:"uuid"`
	Created    *string        `json:"creation_time,omitempty"` // the fork's
	RateLimits rateLimits     `json:"assigned_rate_limits"`
	Claimed    bool           `json:"claimed"`
	Claim      string         `json:"claim_type,omitempty"`
	Zoned      bool           `json:"zoned"`
	IO         ioTypes        `json:"supported_io_types"`
	Specific   map[string]any `json:"driver_specific"`
}

func (b *bdev) info() bdevInfo {
	info := bdevInfo{
		Name: b.name, Aliases: append([]string{}, b.aliases...), Product: b.product,
		BlockSize: b.blockSize, Blocks: b.blocks, UUID: b.uuid, RateLimits: b.limits,
		Claimed: b.claim != unclaimed, Claim: b.claim, IO: b.io, Specific: b.specific(),
	}
	if b.target.config.Flavour == Fork {
		info.Created = &b.created
		return info
	}
	info.preferences, info.IO.NvmeNSSR = &preferences{}, new(bool)
	if b.nvme != nil {
		*info.preferences = overTCP(b.blockSize)
	}
	return info
}

// preferences are what upstream says that a bdev likes, in blocks.
type preferences struct {
	WriteAlignment   uint64 `json:"preferred_write_alignment"`
	WriteGranularity uint64 `json:"preferred_write_granularity"`
	WriteSize        uint64 `json:"optimal_write_size"`
	UnmapAlignment   uint64 `json:"preferred_unmap_alignment"`
	UnmapGranularity uint64 `json:"preferred_unmap_granularity"`
}

// overTCP are those of a namespace that is attached to: an I/O of 128 KiB.
func overTCP(blockSize uint64) preferences { return preferences{1, 1, 128 << 10 / blockSize, 1, 1} }

type getBdevsParams struct {
	Name    string `json:"name" optional:"true"`
	Timeout uint64 `json:"timeout" optional:"true"` // ms
}

// getBdevs can wait for a bdev that is to appear.
func getBdevs(t *Target, r *request, p *getBdevsParams) (any, error) {
	infos := []bdevInfo{}
	if p.Name == "" {
		for _, b := range t.bdevs {
			infos = append(infos, b.info())
		}
		return infos, nil
	}
	b := t.find(p.Name)
	if b == nil {
		if p.Timeout > 0 {
			t.waitForBdev(r, p.Name, time.Now().Add(time.Duration(p.Timeout)*time.Millisecond))
			return nil, errLater
		}
		return nil, syscall.ENODEV
	}
	return append(infos, b.info()), nil
}

// waits is how often a bdev that is to appear is looked for (rpc_bdev_get_bdevs
// does it every 10 ms).
const waits = 10 * time.Millisecond

func (t *Target) waitForBdev(r *request, name string, until time.Time) {
	t.after(waits, func() {
		switch b := t.find(name); {
		case b != nil:
			r.conclude([]bdevInfo{b.info()}, nil)
		case time.Now().After(until):
			r.conclude(nil, syscall.ETIMEDOUT)
		default:
			t.waitForBdev(r, name, until)
		}
	})
}

// after does something later, if the target is still there.
func (t *Target) after(d time.Duration, do func()) {
	time.AfterFunc(d, func() { t.world(do) })
}
