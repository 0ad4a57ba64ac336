package session

import (
	"net"
	"syscall"
)

// gone reports whether the other end has closed or reset a connection, also behind
// something that nobody has read yet. It does not wait.
func gone(conn net.Conn) bool {
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = c.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false // no socket
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var is bool
	err = raw.Control(func(fd uintptr) { is = hungUp(int(fd)) })
	return err == nil && is
}

// hungUp asks the kernel. The end of the other side, a reset and an error are all that
// it can answer; where it can not be asked, for want of descriptors, nothing is known.
func hungUp(fd int) bool {
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	defer syscall.Close(poll)
	event := syscall.EpollEvent{Events: syscall.EPOLLRDHUP}
	if syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &event) != nil {
		return false
	}
	n, err := syscall.EpollWait(poll, make([]syscall.EpollEvent, 1), 0)
	return err == nil && n > 0
}
