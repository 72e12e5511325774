package rebuild

import "github.com/rootgraft/rebuild/internal/app"

// Bandwidth is a limit, in bytes per second, on the copies of all rebuilds that have it
// in their [Request]. Given to one rebuild it limits that rebuild; given to all
// rebuilds of a host it limits the host ([Queue.LimitHost] does that).
//
// The limit is divided evenly among the lvols that are being filled, and can be changed
// at any time. Where a host cannot keep a rate as low as one share ([LeastLimiter]),
// fewer lvols are filled at a time; those that are being filled when the rate is
// lowered go on.
type Bandwidth struct {
	app *app.Bandwidth
}

// NewBandwidth makes a limit of that many bytes per second; 0 is no limit.
func NewBandwidth(bytesPerSecond uint64) *Bandwidth {
	return &Bandwidth{app: app.NewBandwidth(bytesPerSecond)}
}

// Set changes the limit, also of copies that are under way. 0 is no limit.
func (b *Bandwidth) Set(bytesPerSecond uint64) { b.app.Set(bytesPerSecond) }

// Rate is the limit in bytes per second; 0 is no limit.
func (b *Bandwidth) Rate() uint64 { return b.app.Rate() }

// internal is nil for nil, which a rebuild refuses.
func (b *Bandwidth) internal() *app.Bandwidth {
	if b == nil {
		return nil
	}
	return b.app
}
