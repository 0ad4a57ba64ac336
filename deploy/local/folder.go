package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// lockFolder takes the folder of a cluster for this process. The lock is the kernel's:
// it ends with the process, however that dies, and no program that we start has it.
func lockFolder(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		_, err = file.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0)
	} else if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(file, 20)) // it is only said who that is
		err = fmt.Errorf("the folder %s is in use by process %s: end that, or name another folder", dir, strings.TrimSpace(string(holder)))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkSettings has the binary judge the settings that a caller wants for all servers,
// before anything is started.
func checkSettings(ctx context.Context, binary string, settings map[string]string) error {
	if len(settings) == 0 {
		return nil
	}
	arguments := []string{"config", "check"}
	for name, value := range settings {
		arguments = append(arguments, "--set", name+"="+value)
	}
	output, err := exec.CommandContext(ctx, binary, arguments...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return errors.New(strings.TrimPrefix(strings.TrimSpace(string(output)), "im: "))
	}
	if err != nil {
		return fmt.Errorf("check the settings: %w", err)
	}
	return nil
}
