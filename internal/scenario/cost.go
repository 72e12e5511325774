package scenario

// A file of a few lines can require more than a machine has.
const (
	// maxWritten is the maximum number of bytes of all writes.
	maxWritten = 4 * gib
	// maxTouched is the maximum size of all clusters that they touch, counted once per
	// write. Zeros at a cluster's end take no memory, so many small writes into large
	// clusters are cheap.
	maxTouched = 16 * gib
)

// cost is the effort to build lvols, in bytes.
type cost struct{ written, touched uint64 }

// checkCost refuses a scenario that would take too long or not fit into memory, at the
// first lvol that exceeds a limit.
func (s *Scenario) checkCost(hosts ...*layout) error {
	var all cost
	for _, l := range hosts {
		for _, v := range l.lvols {
			all.add(v, l.clusterSize)
			switch {
			case all.written > maxWritten:
				return s.errorAt(v.field, "expected at most %s of writes in the whole scenario, got more", formatSize(maxWritten))
			case all.touched > maxTouched:
				return s.errorAt(v.field, "expected writes that touch at most %s of clusters in the whole scenario, got more", formatSize(maxTouched))
			}
		}
	}
	return nil
}

// add stops counting above the limits, so that nothing overflows.
func (e *cost) add(v lvol, clusterSize uint64) {
	if v.writes == nil {
		e.written += length(v.own)
		e.touched += length(v.own)
		return
	}
	for _, w := range v.writes {
		if e.written > maxWritten || e.touched > maxTouched {
			return
		}
		if w.Length > 0 {
			e.written += w.Length
			e.touched += roundUp(w.Offset+w.Length, clusterSize) - w.Offset/clusterSize*clusterSize
		}
	}
}
