package simtarget

import (
	"syscall"
	"time"
)

type iostat struct {
	TickRate uint64       `json:"tick_rate"`
	Ticks    int64        `json:"ticks"`
	Bdevs    []bdevIostat `json:"bdevs"`
}

// bdevIostat has the counts; no time is measured here.
type bdevIostat struct {
	Name          string            `json:"name"`
	BytesRead     uint64            `json:"bytes_read"`
	Reads         uint64            `json:"num_read_ops"`
	BytesWritten  uint64            `json:"bytes_written"`
	Writes        uint64            `json:"num_write_ops"`
	BytesUnmapped uint64            `json:"bytes_unmapped"`
	Unmaps        uint64            `json:"num_unmap_ops"`
	BytesCopied   uint64            `json:"bytes_copied"`
	Copies        uint64            `json:"num_copy_ops"`
	ReadTicks     uint64            `json:"read_latency_ticks"`
	MostRead      uint64            `json:"max_read_latency_ticks"`
	LeastRead     uint64            `json:"min_read_latency_ticks"`
	WriteTicks    uint64            `json:"write_latency_ticks"`
	MostWrite     uint64            `json:"max_write_latency_ticks"`
	LeastWrite    uint64            `json:"min_write_latency_ticks"`
	UnmapTicks    uint64            `json:"unmap_latency_ticks"`
	MostUnmap     uint64            `json:"max_unmap_latency_ticks"`
	LeastUnmap    uint64            `json:"min_unmap_latency_ticks"`
	CopyTicks     uint64            `json:"copy_latency_ticks"`
	MostCopy      uint64            `json:"max_copy_latency_ticks"`
	LeastCopy     uint64            `json:"min_copy_latency_ticks"`
	Errors        map[string]uint64 `json:"io_error"`
}

type getIostatParams struct {
	Name       string `json:"name" optional:"true"`
	PerChannel bool   `json:"per_channel" optional:"true"`
	ResetMode  string `json:"reset_mode" optional:"true" flavour:"upstream"`
}

func getIostat(t *Target, r *request, p *getIostatParams) (any, error) {
	if p.PerChannel && p.Name == "" {
		return nil, syscall.EINVAL
	}
	listed := t.bdevs
	if p.Name != "" {
		b := t.find(p.Name)
		if b == nil {
			return nil, syscall.ENODEV
		}
		listed = []*bdev{b}
	}
	stat := iostat{TickRate: uint64(time.Second), Ticks: time.Now().UnixNano(), Bdevs: []bdevIostat{}}
	for _, b := range listed {
		one := bdevIostat{
			Name: b.name, BytesRead: b.reads.bytes, Reads: b.reads.operations,
			BytesWritten: b.writes.bytes, Writes: b.writes.operations,
			BytesUnmapped: b.unmaps.bytes, Unmaps: b.unmaps.operations, Errors: map[string]uint64{},
		}
		for word, n := range b.errors {
			one.Errors[word] = n
		}
		stat.Bdevs = append(stat.Bdevs, one)
	}
	return r.later(func() (any, error) { return stat, nil })
}
