//go:build !linux

package targettest

import (
	"runtime"
	"syscall"
)

// childAttributes: a group of its own, so that its children can be killed with
// it. SPDK itself runs on Linux and FreeBSD.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// allowedCPUs are all that there are.
func allowedCPUs() (allowed []int) {
	for cpu := range runtime.NumCPU() {
		allowed = append(allowed, cpu)
	}
	return allowed
}
