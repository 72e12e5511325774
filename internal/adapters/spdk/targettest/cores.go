package targettest

import "sync"

// cores hands CPUs out to real targets. Each polls on its own all the time, so a new
// one gets the CPU that the fewest poll on.
var cores = &cpus{polled: make(map[int]int)}

type cpus struct {
	mu     sync.Mutex
	polled map[int]int // by CPU: how many targets poll on it
}

func (c *cpus) take() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	allowed := allowedCPUs()
	best := allowed[0]
	for _, cpu := range allowed {
		if c.polled[cpu] < c.polled[best] {
			best = cpu
		}
	}
	c.polled[best]++
	return best
}

func (c *cpus) give(cpu int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polled[cpu]--
}
