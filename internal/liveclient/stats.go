package liveclient

import "time"

// Stats counts requests. Failed ones do not count as reads, writes, trims and zeroes.
type Stats struct {
	Reads, Writes, Trims, Zeroes uint64

	Failures uint64 // requests that returned an error
	Failure  error  // the first one

	Wrong      uint64 // reads that returned other bytes
	FirstWrong error  // describes them

	Longest time.Duration // of a request, from its begin to its answer
}

// Stats returns the counts up to now.
func (c *Clients) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

func (c *Clients) count(counter *uint64, begun time.Time, failure, wrong error) {
	took := time.Since(begun)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.stats
	s.Longest = max(s.Longest, took)
	if failure != nil {
		s.Failures++
		if s.Failure == nil {
			s.Failure = failure
		}
		return
	}
	*counter++
	if wrong != nil {
		s.Wrong++
		if s.FirstWrong == nil {
			s.FirstWrong = wrong
		}
	}
}
