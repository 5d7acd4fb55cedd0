//go:build unix && !linux

package process

import "syscall"

// childAttributes give the child a process group of its own, so that Ctrl-C reaches us alone and we stop
// things in order. There is no parent-death signal here: after a kill -9 of ours the child stays.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
