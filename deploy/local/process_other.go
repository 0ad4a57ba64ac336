//go:build !linux

package local

import "syscall"

// endingWithUs keeps a program apart from the terminal, whose Ctrl-C is for us
// alone. Only Linux can tell it that we have been killed.
func endingWithUs(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
