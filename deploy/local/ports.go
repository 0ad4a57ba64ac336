package local

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Ports are given out below those that the system gives to outgoing connections, so
// that they are still free after a restart.
const (
	lowestPort = 20000
	portCount  = 12000
	// claimed is how long a port is left alone after it was given to someone: they may
	// still have to start what listens on it.
	claimed = 10 * time.Minute
)

// FreePorts returns n ports that nobody listens on, and that no program on this
// machine was given by this function within the last ten minutes. They are below
// those of outgoing connections: a server that is away for a while finds its port
// free again. It fails when there are not so many.
func FreePorts(n int) ([]int, error) {
	claims := filepath.Join(os.TempDir(), "im-ports")
	if err := os.MkdirAll(claims, 0o777); err != nil { //nolint:gosec // whoever runs clusters here shares it
		return nil, fmt.Errorf("choose ports: %w", err)
	}
	unlock, err := lock(filepath.Join(claims, "lock"))
	if err != nil {
		return nil, fmt.Errorf("choose ports: %w", err)
	}
	defer unlock()
	var ports []int
	for range 100 * n {
		port := lowestPort + rand.IntN(portCount)
		if !isFree(port) {
			continue
		}
		ours, err := claim(filepath.Join(claims, strconv.Itoa(port)))
		if err != nil {
			return nil, fmt.Errorf("choose ports: %w", err)
		}
		if !ours {
			continue
		}
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("found no free port")
}

func isFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && listener.Close() == nil
}

// lock keeps other programs from choosing ports meanwhile: of two who find an old claim,
// the later would end the earlier's new one.
func lock(name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o666) //nolint:gosec // as their folder
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { file.Close() }, nil
}

// claim makes a file for a port, and reports whether it was nobody's.
func claim(file string) (bool, error) {
	info, err := os.Stat(file)
	switch {
	case err == nil && time.Since(info.ModTime()) < claimed:
		return false, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	now := time.Now()
	made, err := os.OpenFile(file, os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	return true, errors.Join(made.Close(), os.Chtimes(file, now, now))
}
