//go:build !linux

package kafkacluster

import "syscall"

// attributes keep Ctrl-C from the broker, which we stop ourselves.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
