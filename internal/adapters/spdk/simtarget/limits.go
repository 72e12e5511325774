package simtarget

import (
	"syscall"
	"time"
)

// rateLimits of a bdev; 0 is none.
type rateLimits struct {
	IOs       uint64 `json:"rw_ios_per_sec"`
	Mbytes    uint64 `json:"rw_mbytes_per_sec"`
	ReadMB    uint64 `json:"r_mbytes_per_sec"`
	WriteMB   uint64 `json:"w_mbytes_per_sec"`
	nextWrite time.Time
}

// leastIOs is the smallest limit of I/Os that SPDK keeps (SPDK_BDEV_QOS_MIN_IOS_PER_SEC).
const leastIOs = 1000

type setQosLimitParams struct {
	Name    string  `json:"name"`
	IOs     *uint64 `json:"rw_ios_per_sec" optional:"true"`
	Mbytes  *uint64 `json:"rw_mbytes_per_sec" optional:"true"`
	ReadMB  *uint64 `json:"r_mbytes_per_sec" optional:"true"`
	WriteMB *uint64 `json:"w_mbytes_per_sec" optional:"true"`
}

func setQosLimit(t *Target, r *request, p *setQosLimitParams) (any, error) {
	b := t.find(p.Name)
	if b == nil {
		return nil, syscall.ENODEV
	}
	if p.IOs == nil && p.Mbytes == nil && p.ReadMB == nil && p.WriteMB == nil {
		return nil, refusal(-int(syscall.EINVAL), "No rate limits specified")
	}
	if t.config.Flavour == Upstream && b.limits.any() && b.claim == unclaimed {
		// The call's own opening of the bdev has begun to enable them (bdev_start_qos).
		return nil, refusal(codeInvalidParams, "Failed to configure rate limit: %s", text(syscall.EAGAIN))
	}
	set := func(limit *uint64, to *uint64) {
		if to != nil {
			*limit = *to
		}
	}
	if p.IOs != nil && *p.IOs > 0 {
		*p.IOs = (max(*p.IOs, leastIOs) + leastIOs - 1) / leastIOs * leastIOs
	}
	set(&b.limits.IOs, p.IOs)
	set(&b.limits.Mbytes, p.Mbytes)
	set(&b.limits.ReadMB, p.ReadMB)
	set(&b.limits.WriteMB, p.WriteMB)
	b.limits.nextWrite = time.Time{}
	return r.later(func() (any, error) { return true, nil })
}

func (l *rateLimits) any() bool { return l.IOs > 0 || l.Mbytes > 0 || l.ReadMB > 0 || l.WriteMB > 0 }

// book has the next write wait for one of that many bytes that begins now.
func (l *rateLimits) book(bytes uint64, now time.Time) {
	rate := l.Mbytes
	if l.WriteMB > 0 && (rate == 0 || l.WriteMB < rate) {
		rate = l.WriteMB
	}
	if rate > 0 {
		l.nextWrite = now.Add(time.Duration(float64(bytes) / float64(rate<<20) * float64(time.Second)))
	}
}
