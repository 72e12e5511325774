package ports

import "context"

// Limiter is implemented by hosts that can hold back what is written to an lvol.
type Limiter interface {
	// Limit has the writable lvol written to at no more than that many bytes
	// per second from now on, also by a copy that goes on; 0 lifts it. A host
	// that keeps steps takes the next lower one, and its lowest where the rate
	// is below that, which it tells as a LeastLimiter. What is sealed of the lvol has no limit.
	// ErrBusy where the limit of an lvol that nobody writes to cannot be changed;
	// ErrNotFound where there is no such lvol, ErrUnsupported where this host
	// cannot.
	Limit(ctx context.Context, uuid string, bytesPerSecond uint64) error
}

// LeastLimiter is implemented by Limiters that keep no rate below some least one.
// The engine fills fewer lvols at a time where each would get less than that.
type LeastLimiter interface {
	// LeastLimit is the lowest rate that Limit keeps, in bytes per second.
	LeastLimit() uint64
}
