package local

import "syscall"

// endingWithUs makes a program get a signal when whoever started it ends, and keeps
// it apart from the terminal, whose Ctrl-C is for us alone.
func endingWithUs(signal syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: signal}
}
