package process

import "syscall"

// childAttributes give the child a process group of its own, so that Ctrl-C reaches us alone and we stop
// things in order, and have the kernel stop it should we be killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
