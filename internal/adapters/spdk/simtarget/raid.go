package simtarget

import (
	"slices"
	"syscall"
)

// raid is a RAID1 without a superblock.
type raid struct {
	bdev  *bdev
	bases []*base
	turn  int // which base is read next
}

// base is a slot of a RAID. One that has lost its bdev stays empty.
type base struct {
	name   string // as it was given
	bdev   *bdev  // nil: empty
	blocks uint64
}

const raidProduct = "Raid Volume"

type raidCreateParams struct {
	Name       string    `json:"name"`
	Level      string    `json:"raid_level"`
	Bases      []string  `json:"base_bdevs"`
	Strip      uint32    `json:"strip_size_kb" optional:"true"`
	UUID       uuidParam `json:"uuid" optional:"true"`
	Superblock bool      `json:"superblock" optional:"true"` // is not written here
	Delta      bool      `json:"delta_bitmap" optional:"true" flavour:"fork"`
}

func raidCreate(t *Target, r *request, p *raidCreateParams) {
	if p.Level != "raid1" && p.Level != "1" {
		r.refuse(codeParseError, undecodable)
		return
	}
	refuse := func(errno syscall.Errno) {
		r.refuse(-int(errno), "Failed to create RAID bdev %s: %s", p.Name, text(errno))
	}
	switch {
	case t.raid(p.Name) != nil:
		refuse(syscall.EEXIST)
		return
	case len(p.Bases) == 0, len(p.Bases) == 1 && t.config.Flavour == Upstream, p.Strip != 0:
		refuse(syscall.EINVAL)
		return
	}
	made := &raid{}
	for _, name := range p.Bases {
		one, errno := t.newBase(made, name) // a real target waits until a missing one appears
		if errno != 0 {
			made.release()
			refuse(errno)
			return
		}
		made.bases = append(made.bases, one)
	}
	if errno := t.registerRAID(made, p); errno != 0 {
		made.release()
		refuse(errno)
		return
	}
	r.result(true)
}

// newBase claims a bdev for a RAID, whose other bases have blocks of the same size.
func (t *Target) newBase(a *raid, name string) (*base, syscall.Errno) {
	b := t.find(name)
	if b == nil {
		return nil, syscall.ENODEV
	}
	if errno := b.take(exclusiveWrite); errno != 0 {
		return nil, errno
	}
	for _, other := range a.bases {
		if other.bdev != nil && other.bdev.blockSize != b.blockSize {
			b.release()
			return nil, syscall.EINVAL
		}
	}
	return &base{name: name, bdev: b, blocks: b.blocks}, 0
}

func (t *Target) registerRAID(a *raid, p *raidCreateParams) syscall.Errno {
	first := a.bases[0]
	b := &bdev{
		name: p.Name, uuid: string(p.UUID), product: raidProduct, device: a, blockSize: first.bdev.blockSize, blocks: first.blocks,
		io:       ioTypes{Read: true, Write: true, Unmap: true, Flush: t.config.Flavour == Fork, Reset: true, WriteZeroes: true},
		specific: func() map[string]any { return map[string]any{"raid": a.info()} },
		end:      func() { a.release(); t.forgetRAID(a) },
	}
	if b.uuid == "" {
		b.uuid = newUUID()
	}
	for _, one := range a.bases {
		b.blocks = min(b.blocks, one.blocks)
	}
	b.aliases = []string{b.uuid}
	a.bdev = b
	if errno := t.register(b); errno != 0 {
		return errno
	}
	for _, one := range a.bases {
		one.blocks = b.blocks
	}
	t.raids = append(t.raids, a)
	return 0
}

func (t *Target) raid(name string) *raid {
	for _, one := range t.raids {
		if one.bdev.name == name {
			return one
		}
	}
	return nil
}

func (t *Target) forgetRAID(gone *raid) {
	t.raids = slices.DeleteFunc(t.raids, func(one *raid) bool { return one == gone })
}

func (a *raid) release() {
	for _, one := range a.bases {
		if one.bdev != nil {
			one.bdev.release()
			one.bdev = nil
		}
	}
}

func (a *raid) filled() (n int) {
	for _, one := range a.bases {
		if one.bdev != nil {
			n++
		}
	}
	return n
}

func raidDelete(t *Target, r *request, p *named) {
	a := t.raid(p.Name)
	if a == nil {
		r.refuse(-int(syscall.ENODEV), "raid bdev %s not found", p.Name)
		return
	}
	t.later(func() {
		t.unregister(a.bdev)
		r.result(true)
	})
}

type raidInfo struct {
	Name        string     `json:"name,omitempty"` // bdev_raid_get_bdevs alone has it
	UUID        string     `json:"uuid"`
	StripSize   uint64     `json:"strip_size_kb"`
	State       string     `json:"state"`
	Level       string     `json:"raid_level"`
	Superblock  bool       `json:"superblock"`
	Bases       int        `json:"num_base_bdevs"`
	Discovered  int        `json:"num_base_bdevs_discovered"`
	Operational int        `json:"num_base_bdevs_operational"`
	List        []baseInfo `json:"base_bdevs_list"`
}

type baseInfo struct {
	Name       *string `json:"name"`
	UUID       string  `json:"uuid"`
	Configured bool    `json:"is_configured"`
	DataOffset uint64  `json:"data_offset"`
	DataSize   uint64  `json:"data_size"`
}

const noUUID = "00000000-0000-0000-0000-000000000000"

func (a *raid) info() raidInfo {
	info := raidInfo{
		UUID: a.bdev.uuid, State: "online", Level: "raid1",
		Bases: len(a.bases), Discovered: a.filled(), Operational: a.filled(),
	}
	for _, one := range a.bases {
		line := baseInfo{UUID: noUUID, DataSize: one.blocks}
		if one.bdev != nil {
			line.Name, line.UUID, line.Configured = &one.name, one.bdev.uuid, true
		}
		info.List = append(info.List, line)
	}
	return info
}

type raidGetBdevsParams struct {
	Category string `json:"category"`
}

func raidGetBdevs(t *Target, r *request, p *raidGetBdevsParams) {
	infos := []raidInfo{}
	switch p.Category {
	case "all", "online":
		for _, a := range t.raids {
			info := a.info()
			info.Name = a.bdev.name
			infos = append(infos, info)
		}
	case "configuring", "offline":
	default:
		r.errno(syscall.EINVAL)
		return
	}
	r.result(infos)
}
