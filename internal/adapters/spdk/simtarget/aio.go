package simtarget

import (
	"encoding/json"
	"errors"
	"os"
	"syscall"
)

// aioFile is the file of an AIO bdev.
type aioFile struct{ *os.File }

func (f aioFile) close() { _ = f.Close() }

// ReadAt reads zeros beyond the end of the file, should it have become shorter.
func (f aioFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, offset)
	clear(p[n:])
	if n < len(p) && err != nil {
		err = nil
	}
	return len(p), err
}

// uuidParam is a UUID among parameters.
type uuidParam string

func (u *uuidParam) decode(raw json.RawMessage) bool {
	var text string
	if json.Unmarshal(raw, &text) != nil || !isUUID(text) {
		return false
	}
	*u = uuidParam(text)
	return true
}

type aioCreateParams struct {
	Name      string    `json:"name"`
	Filename  string    `json:"filename"`
	BlockSize uint32    `json:"block_size" optional:"true"`
	ReadOnly  bool      `json:"readonly" optional:"true"`
	Fallocate bool      `json:"fallocate" optional:"true"`
	UUID      uuidParam `json:"uuid" optional:"true"`
}

func aioCreate(t *Target, r *request, p *aioCreateParams) (any, error) {
	flags := os.O_RDWR
	if p.ReadOnly {
		flags = os.O_RDONLY
	}
	file, err := os.OpenFile(p.Filename, flags, 0)
	if err != nil {
		return nil, errnoOfOpen(err)
	}
	b := &bdev{
		name: p.Name, uuid: string(p.UUID), product: "AIO disk", device: aioFile{file},
		blockSize: uint64(p.BlockSize),
		io:        ioTypes{Read: true, Write: true, Unmap: p.Fallocate, Flush: true, Reset: true, WriteZeroes: true},
		specific: func() map[string]any {
			return map[string]any{"aio": map[string]any{
				"filename": p.Filename, "block_size_override": p.BlockSize > 0, "readonly": p.ReadOnly, "fallocate": p.Fallocate,
			}}
		},
	}
	errno := b.measure(file)
	if errno == 0 {
		if b.uuid == "" {
			b.uuid = newUUID()
		}
		b.aliases = []string{b.uuid}
		errno = t.register(b)
	}
	if errno != 0 {
		_ = file.Close()
		return nil, errno
	}
	return r.later(func() (any, error) {
		t.examine(b)
		return p.Name, nil
	})
}

// measure checks the block size, which a file has none of its own of, and takes the
// size from the file.
func (b *bdev) measure(file *os.File) syscall.Errno {
	info, err := file.Stat()
	if err != nil {
		return errnoOfOpen(err)
	}
	size := info.Size()
	if b.blockSize < 512 || b.blockSize&(b.blockSize-1) != 0 || uint64(size)%b.blockSize != 0 {
		return syscall.EINVAL
	}
	b.blocks = uint64(size) / b.blockSize
	return 0
}

func errnoOfOpen(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return syscall.EIO
}

// aioDelete never answers where an esnap clone reads through to the bdev.
func aioDelete(t *Target, r *request, p *named) (any, error) {
	b := t.find(p.Name)
	if b == nil || b.product != "AIO disk" {
		return nil, syscall.ENODEV
	}
	if t.readsThrough(b) || t.cannotUnload(b) {
		b.stuck = true
		delete(t.byName, b.name)
		return nil, errLater
	}
	return r.later(func() (any, error) {
		t.takeAway(b)
		return true, nil
	})
}

// cannotUnload says whether the disk's lvstore is never unloaded: a snapshot was
// renamed that has several clones, or one that is a snapshot, and was not opened since.
// Its name is written when it is closed, and all that have it open close it at once.
func (t *Target) cannotUnload(b *bdev) bool {
	for _, s := range t.stores {
		for _, l := range s.inOrder {
			if s.base == b && l.readOnly() && l.name != l.written && !l.closesLast() {
				return true
			}
		}
	}
	return false
}

// closesLast says whether nothing but a head has the snapshot open besides itself.
func (l *lvol) closesLast() bool {
	clones := l.clones()
	return len(clones) == 0 || len(clones) == 1 && !clones[0].readOnly()
}

// takeAway takes a disk away, and with it the lvstore that it has, which is there
// again when the disk is.
func (t *Target) takeAway(b *bdev) {
	for _, s := range t.stores {
		if s.base == b {
			for _, l := range s.inOrder {
				l.opened() // and closed: what was renamed keeps its name
			}
			s.unload()
			s.takeAway()
			break
		}
	}
	t.unregister(b)
}
