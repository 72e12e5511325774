package app

import "slices"

// served is one copy that a source has served.
type served struct {
	snapshot string // "": the image
	bytes    uint64
}

func (s *sources) addServed(at int, copied served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state[at].served = append(s.state[at].served, copied)
}

// warnings are those about sources that are not used.
func (s *sources) warnings(passedOver []error) (warnings []string) {
	for _, flaw := range passedOver {
		if flaw != nil {
			warnings = append(warnings, "a source is passed over: "+inOneLine(flaw))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(warnings, s.lossWarnings...)
}

// reportSources adds the parts of several sources to the report.
func (r *rebuild) reportSources() {
	if !r.sources.several() {
		r.report.Warnings = append(r.sources.warnings(nil), r.report.Warnings...)
		return
	}
	passedOver := make([]error, len(r.sources.sites))
	copy(passedOver, r.passedOver)
	for at := range passedOver {
		if r.sources.lostReason(at) != nil {
			passedOver[at] = nil
		}
	}
	r.report.Warnings = slices.Concat(r.sources.warnings(passedOver), r.secondaryWarnings, r.report.Warnings)
	r.sources.mu.Lock()
	defer r.sources.mu.Unlock()
	for at, site := range r.sources.sites {
		part := SourceReport{Replica: site.Replica, Lvstore: r.sources.state[at].lvstore, State: SourceSecondary}
		switch lost := r.sources.state[at].lost; {
		case lost != nil:
			part.State, part.Reason = SourceLost, inOneLine(lost)
		case passedOver[at] != nil:
			part.State, part.Reason = SourcePassedOver, inOneLine(passedOver[at])
		case at == r.primary:
			part.State = SourcePrimary
		}
		for _, one := range r.sources.state[at].served {
			part.Snapshots = append(part.Snapshots, one.snapshot)
			part.CopiedBytes += one.bytes
		}
		r.report.Sources = append(r.report.Sources, part)
	}
}
