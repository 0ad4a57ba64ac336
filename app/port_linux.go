package app

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// holderOf names the process that listens on a TCP port of this machine; empty where
// that can not be seen, as another user's can not.
func holderOf(port int) string {
	var sockets []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue // a kernel without that family
		}
		for line := range strings.Lines(string(text)) {
			// "sl local_address rem_address st … uid timeout inode": 0A is LISTEN.
			fields := strings.Fields(line)
			if len(fields) > 9 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				sockets = append(sockets, "socket:["+fields[9]+"]")
			}
		}
	}
	if len(sockets) == 0 {
		return ""
	}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, file := range files {
		if to, err := os.Readlink(file); err == nil && slices.Contains(sockets, to) {
			process := filepath.Dir(filepath.Dir(file))
			name, err := os.ReadFile(filepath.Join(process, "comm"))
			if err != nil {
				return "process " + filepath.Base(process)
			}
			return fmt.Sprintf("process %s (%s)", filepath.Base(process), strings.TrimSpace(string(name)))
		}
	}
	return ""
}
