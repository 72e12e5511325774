package simtarget

import (
	"slices"
	"syscall"
)

// raid is a RAID1 whose bases were all there when it was made.
type raid struct {
	bdev  *bdev
	bases []*base
}

// base is a slot of a RAID. One that has lost its bdev stays empty.
type base struct {
	name   string // as it was given
	bdev   *bdev  // nil: empty
	blocks uint64
}

const raidProduct = "Raid Volume"

type raidCreateParams struct {
	Name  string   `json:"name"`
	Level string   `json:"raid_level"`
	Bases []string `json:"base_bdevs"`
}

func (raidCreateParams) ignores() []string {
	return []string{"strip_size_kb", "uuid", "superblock", "delta_bitmap"}
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
	case len(p.Bases) == 0, len(p.Bases) == 1 && t.config.Flavour == Upstream:
		refuse(syscall.EINVAL)
		return
	}
	made := &raid{}
	leave := func(errno syscall.Errno) {
		made.release()
		refuse(errno)
	}
	for _, name := range p.Bases {
		b := t.find(name)
		if b == nil {
			leave(syscall.ENODEV) // a real target waits until it appears
			return
		}
		if errno := b.take(exclusiveWrite); errno != 0 {
			leave(errno)
			return
		}
		made.bases = append(made.bases, &base{name: name, bdev: b, blocks: b.blocks})
	}
	b := &bdev{
		name: p.Name, uuid: newUUID(), product: raidProduct, device: made, blockSize: made.bases[0].bdev.blockSize, blocks: made.bases[0].blocks,
		io:       ioTypes{Read: true, Write: true, Unmap: true, Flush: t.config.Flavour == Fork, Reset: true, WriteZeroes: true},
		specific: func() map[string]any { return map[string]any{"raid": made.info()} },
		end:      func() { made.release(); t.forgetRAID(made) },
	}
	for _, one := range made.bases {
		b.blocks = min(b.blocks, one.blocks)
	}
	b.aliases = []string{b.uuid}
	made.bdev = b
	if errno := t.register(b); errno != 0 {
		leave(errno)
		return
	}
	t.raids = append(t.raids, made)
	r.result(true)
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

// ReadAt reads the first base that is there.
func (a *raid) ReadAt(p []byte, offset int64) (int, error) {
	for _, one := range a.bases {
		if one.bdev != nil {
			return len(p), one.bdev.read(p, uint64(offset))
		}
	}
	return 0, errGone
}

// WriteAt writes all bases.
func (a *raid) WriteAt(p []byte, offset int64) (int, error) {
	for _, one := range a.bases {
		if one.bdev == nil {
			continue
		}
		if err := one.bdev.write(p, uint64(offset)); err != nil {
			return 0, err
		}
	}
	return len(p), nil
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

// leaveRAIDs empties the slot of a bdev that goes. A RAID goes with its last one.
func (t *Target) leaveRAIDs(b *bdev) {
	for _, a := range slices.Clone(t.raids) {
		for _, one := range a.bases {
			if one.bdev == b {
				one.bdev = nil
				b.release()
			}
		}
		if a.filled() == 0 {
			t.unregister(a.bdev)
		}
	}
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
