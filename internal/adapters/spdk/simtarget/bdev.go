package simtarget

import (
	"errors"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// device is what a bdev reads and writes.
type device interface {
	ReadAt(p []byte, offset int64) (int, error)
	WriteAt(p []byte, offset int64) (int, error)
}

// claims are how SPDK names who may use a bdev (spdk_bdev_claim_get_name).
const (
	unclaimed      = ""
	exclusiveWrite = "exclusive_write"
	readOnlyShared = "read_many_write_none"
	oneWriter      = "read_many_write_one"
)

// bdev is a block device of a target.
type bdev struct {
	target    *Target
	name      string
	aliases   []string
	uuid      string
	product   string
	created   string
	blockSize uint64
	blocks    uint64
	device    device
	io        ioTypes
	specific  func() map[string]any // what its driver says of it
	end       func()                // when it is unregistered; nil: nothing

	claim    string
	claimers int

	limits rateLimits
	errors map[string]uint64 // I/O that failed, by SPDK's word for it
	reads  ioCount
	writes ioCount
	unmaps ioCount

	waiting  int // I/Os of clients that have begun and wait
	quiesced int // by so many operations: no I/O begins

	lvol  *lvol       // which it shows; nil: none
	nvme  *controller // which it comes from; nil: none
	nsid  uint32
	gone  bool
	stuck bool // its deletion never ends

	examined bool // just now: nobody can claim it

	readThrough time.Time // by an esnap clone, the last time
	waitedFor   time.Time // by a read of an esnap clone that waits, the last time that it was tried
}

type ioCount struct{ bytes, operations uint64 }

func (b *bdev) size() uint64 { return b.blocks * b.blockSize }

// ErrGone is the error of I/O to a bdev that was deleted.
var ErrGone = errors.New("the bdev is gone")

// read counts and does one read.
func (b *bdev) read(p []byte, offset uint64) error {
	return b.do(&b.reads, len(p), offset, func() error {
		_, err := b.device.ReadAt(p, int64(offset))
		return err
	})
}

func (b *bdev) write(p []byte, offset uint64) error {
	return b.do(&b.writes, len(p), offset, func() error {
		_, err := b.device.WriteAt(p, int64(offset))
		return err
	})
}

// unmap deallocates a range, where the device can; else nothing happens to it.
func (b *bdev) unmap(offset, length uint64) error {
	device, can := b.device.(interface {
		Unmap(offset, length uint64) error
	})
	return b.do(&b.unmaps, int(length), offset, func() error {
		if !can {
			return nil
		}
		return device.Unmap(offset, length)
	})
}

func (b *bdev) do(count *ioCount, length int, offset uint64, do func() error) error {
	if b.gone {
		return ErrGone
	}
	if offset > b.size() || uint64(length) > b.size()-offset {
		return syscall.EINVAL
	}
	if err := do(); errors.Is(err, errAgain) {
		return err
	} else if err != nil {
		word := "failed"
		if b.nvme != nil {
			word = "nvme_error"
		}
		if b.errors == nil {
			b.errors = make(map[string]uint64)
		}
		b.errors[word]++
		return err
	}
	count.bytes += uint64(length)
	count.operations++
	return nil
}

func (b *bdev) close() {
	if closer, ok := b.device.(interface{ close() }); ok {
		closer.close()
	}
}

// find is spdk_bdev_get_by_name: by name or alias.
func (t *Target) find(name string) *bdev { return t.byName[name] }

// register adds a bdev, unless a name of it is taken.
func (t *Target) register(b *bdev) syscall.Errno {
	for _, name := range b.names() {
		if t.byName[name] != nil {
			return syscall.EEXIST
		}
	}
	b.target = t
	for _, name := range b.names() {
		t.byName[name] = b
	}
	t.bdevs = append(t.bdevs, b)
	b.joinRAID()
	return 0
}

// names are all by which it is found. A UUID that is no name of its own is an
// alias.
func (b *bdev) names() []string { return append([]string{b.name}, b.aliases...) }

// unregister takes a bdev away from whoever has it open, and ends it.
func (t *Target) unregister(b *bdev) {
	if b.gone {
		return
	}
	b.gone = true
	for _, name := range b.names() {
		delete(t.byName, name)
	}
	t.bdevs = slices.DeleteFunc(t.bdevs, func(other *bdev) bool { return other == b })
	t.withdraw(b)
	t.leaveRAIDs(b)
	if b.end != nil {
		b.end()
	}
	b.close()
}

// take claims the bdev. EPERM where somebody has it already; but those who only read
// may share it.
func (b *bdev) take(claim string) syscall.Errno {
	if b.examined {
		return syscall.EPERM
	}
	if b.claim != unclaimed && (b.claim != readOnlyShared || claim != readOnlyShared) {
		return syscall.EPERM
	}
	b.claim = claim
	b.claimers++
	return 0
}

func (b *bdev) release() {
	if b.claimers--; b.claimers == 0 {
		b.claim = unclaimed
	}
}

// ioTypes are what a bdev supports.
type ioTypes struct {
	Read           bool `json:"read"`
	Write          bool `json:"write"`
	Unmap          bool `json:"unmap"`
	Flush          bool `json:"flush"`
	Reset          bool `json:"reset"`
	NvmeAdmin      bool `json:"nvme_admin"`
	NvmeIO         bool `json:"nvme_io"`
	NvmeIOMD       bool `json:"nvme_io_md"`
	WriteZeroes    bool `json:"write_zeroes"`
	Zcopy          bool `json:"zcopy"`
	GetZoneInfo    bool `json:"get_zone_info"`
	ZoneManagement bool `json:"zone_management"`
	ZoneAppend     bool `json:"zone_append"`
	Compare        bool `json:"compare"`
	CompareWrite   bool `json:"compare_and_write"`
	Abort          bool `json:"abort"`
	SeekHole       bool `json:"seek_hole"`
	SeekData       bool `json:"seek_data"`
	Copy           bool `json:"copy"`
	NvmeIovMD      bool `json:"nvme_iov_md"`

	NvmeNSSR *bool `json:"nvme_nssr,omitempty"` // upstream's
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func isUUID(text string) bool { return uuidForm.MatchString(text) }
