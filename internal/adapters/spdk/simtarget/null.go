package simtarget

import "syscall"

// nullDevice is zeros, and forgets what is written.
type nullDevice struct{}

func (nullDevice) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

func (nullDevice) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

const nullProduct = "Null disk"

type nullCreateParams struct {
	Name      string    `json:"name"`
	UUID      uuidParam `json:"uuid" optional:"true"`
	Blocks    uint64    `json:"num_blocks"`
	BlockSize uint32    `json:"block_size"`
}

func (nullCreateParams) ignores() []string {
	return []string{"physical_block_size", "md_size", "dif_type", "dif_is_head_of_md", "dif_pi_format"}
}

func nullCreate(t *Target, r *request, p *nullCreateParams) (any, error) {
	if p.BlockSize%512 != 0 || p.BlockSize == 0 {
		return nil, refusal(-int(syscall.EINVAL), "Data block size must be a multiple of 512")
	}
	if p.Blocks == 0 {
		return nil, refusal(-int(syscall.EINVAL), "Disk num_blocks must be greater than 0")
	}
	b := &bdev{
		name: p.Name, uuid: string(p.UUID), product: nullProduct, device: nullDevice{},
		blockSize: uint64(p.BlockSize), blocks: p.Blocks,
		io:       ioTypes{Read: true, Write: true, Reset: true, WriteZeroes: true, Abort: true},
		specific: func() map[string]any { return map[string]any{} },
	}
	if b.uuid == "" {
		b.uuid = newUUID()
	}
	b.aliases = []string{b.uuid}
	if errno := t.register(b); errno != 0 {
		return nil, errno
	}
	return p.Name, nil
}

func nullDelete(t *Target, r *request, p *named) (any, error) {
	b := t.find(p.Name)
	if b == nil || b.product != nullProduct {
		return nil, syscall.ENODEV
	}
	return r.later(func() (any, error) {
		t.unregister(b)
		return true, nil
	})
}
