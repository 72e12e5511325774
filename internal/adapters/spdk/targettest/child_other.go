//go:build !linux

package targettest

import "syscall"

// childAttributes: a group of its own, so that its children can be killed with
// it. SPDK itself runs on Linux and FreeBSD.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
