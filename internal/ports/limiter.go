package ports

import "context"

// Limiter is implemented by hosts that can limit the rate of writes to an lvol.
type Limiter interface {
	// Limit limits writes to the writable lvol to that many bytes per second from now
	// on, including those of a running copy; 0 removes the limit. A host with discrete
	// rates rounds down, or takes its lowest rate (LeastLimiter). The sealed snapshot has
	// no limit.
	// ErrBusy if the limit cannot be changed while nobody writes to the lvol, ErrNotFound
	// if there is no such lvol, ErrUnsupported if this host has no limits.
	Limit(ctx context.Context, uuid string, bytesPerSecond uint64) error
}

// LeastLimiter is implemented by Limiters that have a lowest rate. The engine fills
// fewer lvols at a time if each would get less than that.
type LeastLimiter interface {
	// LeastLimit is the lowest rate that Limit can enforce, in bytes per second.
	LeastLimit() uint64
}
