package targettest

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttributes: a group of its own, so that its children can be killed with
// it; and it goes with the test process, also when that is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// allowedCPUs are those that this process may run on, in a container not always
// the first ones; never none.
func allowedCPUs() (allowed []int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil {
		for cpu := range len(set) * 64 {
			if set.IsSet(cpu) {
				allowed = append(allowed, cpu)
			}
		}
	}
	if len(allowed) == 0 {
		allowed = []int{0}
	}
	return allowed
}
