package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Disk is a small disk in memory for what is in one folder. It is mounted where only
// the processes see it that are started in it, so that it is gone when they are, and
// when whoever made it is, however that ends. One goroutine uses it.
type Disk struct {
	dir    string
	size   int64
	anchor *process // keeps the place where it is mounted, with which it goes
}

// MakeDisk makes a disk of a size in bytes for a folder, which must be there. Linux
// only lets those do it who may mount: an error says why it can not be.
func MakeDisk(dir string, size int64) (*Disk, error) {
	const script = `mount -t tmpfs -o size="$1",mode=0700 im "$2" && echo mounted && exec cat`
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", strconv.FormatInt(size, 10), dir) //nolint:gosec // numbers and a folder of ours
	if _, err := cmd.StdinPipe(); err != nil {                                                            // cat ends when we do
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	anchor, err := launch(cmd)
	if err != nil {
		return nil, fmt.Errorf("make a disk: %w", err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "mounted\n" {
		anchor.kill()
		return nil, fmt.Errorf("make a disk: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return &Disk{dir: dir, size: size, anchor: anchor}, nil
}

// CanMakeDisk returns why MakeDisk can not work here, nil if it can.
func CanMakeDisk() error {
	dir, err := os.MkdirTemp("", "im-disk-")
	if err != nil {
		return err
	}
	disk, err := MakeDisk(dir, 1<<20)
	if err == nil {
		disk.Close()
	}
	return errors.Join(err, os.Remove(dir))
}

// Enter returns the command line of a program that sees the disk. A program is named
// by its whole path, or found on PATH.
func (d *Disk) Enter(program string, arguments ...string) []string {
	return append([]string{"nsenter", "--target", strconv.Itoa(d.anchor.pid()), "--mount", program}, arguments...)
}

// Fill leaves no room, so that nothing more can be written, until Free.
func (d *Disk) Fill(ctx context.Context) error {
	// What is written between the look and the change is more than fits: look again.
	const script = `for try in 1 2 3 4 5 6 7 8 9 10; do
		mount -o remount,size="$(df --output=used -B1 "$1" | tail -n 1 | tr -d " ")" "$1" && exit; done; exit 1`
	return d.shell(ctx, "fill", script, d.dir)
}

// Free gives the room back.
func (d *Disk) Free(ctx context.Context) error {
	return d.shell(ctx, "free", `mount -o remount,size="$2" "$1"`, d.dir, strconv.FormatInt(d.size, 10))
}

// shell runs a script that sees the disk.
func (d *Disk) shell(ctx context.Context, action, script string, arguments ...string) error {
	line := d.Enter("sh", append([]string{"-c", script, "sh"}, arguments...)...)
	text, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput() //nolint:gosec // a script of ours
	if err != nil {
		return fmt.Errorf("%s the disk: %w: %s", action, err, text)
	}
	return nil
}

// Close takes the disk away with everything on it, once no process is in it any more.
// A second call does nothing.
func (d *Disk) Close() { d.anchor.kill() }
