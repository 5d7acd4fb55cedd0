package kafkacluster

import "syscall"

// attributes keep Ctrl-C from the broker, which we stop ourselves, and have the kernel end it should we be killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
