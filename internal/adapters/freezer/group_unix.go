//go:build unix

package freezer

import (
	"os/exec"
	"syscall"
)

// killGroup makes a command be killed with its children.
func killGroup(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
}
