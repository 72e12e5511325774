package targettest

import "syscall"

// childAttributes: a group of its own, so that its children can be killed with
// it; and it goes with the test process, also when that is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
