package simtarget

import (
	"slices"
	"syscall"
)

// raid is a RAID1 without a superblock.
type raid struct {
	bdev   *bdev
	bases  []*base
	turn   int  // which base is read next
	online bool // all bases were there once; until then nobody sees the bdev
}

// base is a slot of a RAID. One that has lost its bdev stays empty; before the RAID is online it waits
// for one.
type base struct {
	name   string // as it was given
	bdev   *bdev  // nil: empty
	held   *bdev  // that it could not read when it grew; it is not used
	blocks uint64
	failed bool // it is dropped when drops are not held any more
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

func raidCreate(t *Target, r *request, p *raidCreateParams) (any, error) {
	if p.Level != "raid1" && p.Level != "1" {
		return nil, refusal(codeParseError, undecodable)
	}
	refused := func(errno syscall.Errno) (any, error) {
		return nil, refusal(-int(errno), "Failed to create RAID bdev %s: %s", p.Name, text(errno))
	}
	switch {
	case t.raid(p.Name) != nil:
		return refused(syscall.EEXIST)
	case len(p.Bases) == 0, len(p.Bases) == 1 && t.config.Flavour == Upstream, p.Strip != 0:
		return refused(syscall.EINVAL)
	}
	made := t.newRAID(p)
	errno := syscall.Errno(0)
	for _, name := range p.Bases {
		one, why := t.newBase(made, name)
		if why == syscall.ENODEV {
			one = &base{name: name}
		} else if why != 0 {
			errno = why
			break
		}
		made.bases = append(made.bases, one)
	}
	if errno == 0 && made.filled() == len(p.Bases) {
		errno = made.goOnline()
	}
	if errno != 0 {
		made.release()
		return refused(errno)
	}
	t.raids = append(t.raids, made)
	return true, nil
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

// newRAID is one without bases.
func (t *Target) newRAID(p *raidCreateParams) *raid {
	a := &raid{}
	a.bdev = &bdev{
		target: t, name: p.Name, uuid: string(p.UUID), product: raidProduct, device: a,
		io:       ioTypes{Read: true, Write: true, Unmap: true, Flush: t.config.Flavour == Fork, Reset: true, WriteZeroes: true},
		specific: func() map[string]any { return map[string]any{"raid": a.info()} },
		end:      func() { a.release(); t.forgetRAID(a) },
	}
	return a
}

// goOnline registers the bdev of a RAID whose bases are all there.
func (a *raid) goOnline() syscall.Errno {
	b, first := a.bdev, a.bases[0]
	if b.uuid == "" {
		b.uuid = newUUID()
	}
	b.aliases, b.blockSize, b.blocks = []string{b.uuid}, first.bdev.blockSize, first.blocks
	for _, one := range a.bases {
		b.blocks = min(b.blocks, one.blocks)
	}
	if errno := b.target.register(b); errno != 0 {
		return errno
	}
	for _, one := range a.bases {
		one.blocks = b.blocks
	}
	a.online = true
	return 0
}

// joinRAID has a new bdev fill the slot of a RAID that waits for it, by its name and no alias
// (raid_bdev_examine_no_sb).
func (b *bdev) joinRAID() {
	for _, a := range slices.Clone(b.target.raids) {
		i := slices.IndexFunc(a.bases, func(one *base) bool { return one.bdev == nil && one.name == b.name })
		if a.online || i < 0 {
			continue
		}
		one, errno := b.target.newBase(a, b.name)
		if errno != 0 {
			return
		}
		a.bases[i] = one
		if a.filled() == len(a.bases) {
			_ = a.goOnline() // else it stays as it is
		}
		return
	}
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
		if one.held != nil {
			one.held.release()
			one.held = nil
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

func raidDelete(t *Target, r *request, p *named) (any, error) {
	a := t.raid(p.Name)
	if a == nil {
		return nil, refusal(-int(syscall.ENODEV), "raid bdev %s not found", p.Name)
	}
	return r.later(func() (any, error) {
		if a.online {
			t.unregister(a.bdev)
		} else {
			a.bdev.end()
		}
		return true, nil
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
	if !a.online {
		info.State, info.Operational = "configuring", len(a.bases)
		if info.UUID == "" {
			info.UUID = noUUID
		}
	}
	for _, one := range a.bases {
		line := baseInfo{UUID: noUUID, DataSize: one.blocks}
		switch {
		case one.bdev != nil:
			line.Name, line.UUID, line.Configured = &one.name, one.bdev.uuid, true
		case one.held != nil:
			line.Name, line.UUID = &one.name, one.held.uuid
		case !a.online:
			line.Name = &one.name
		}
		info.List = append(info.List, line)
	}
	return info
}

type raidGetBdevsParams struct {
	Category string `json:"category"`
}

func raidGetBdevs(t *Target, r *request, p *raidGetBdevsParams) (any, error) {
	infos := []raidInfo{}
	if !slices.Contains([]string{"all", "online", "configuring", "offline"}, p.Category) {
		return nil, syscall.EINVAL
	}
	for _, a := range t.raids {
		info := a.info()
		info.Name = a.bdev.name
		if p.Category == "all" || p.Category == info.State {
			infos = append(infos, info)
		}
	}
	return infos, nil
}
