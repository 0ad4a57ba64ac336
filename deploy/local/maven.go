package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// jars are Java programs and libraries that Maven fetches once and that are kept
// between runs in the user's cache, in a folder with a name that tells the version.
type jars struct {
	name string // "zipkin-3.5.1"
	pom  []byte // what to fetch
}

// available reports whether they can be run: a Java is there, and Maven unless they
// have been fetched before.
func (j jars) available() bool {
	if _, err := exec.LookPath("java"); err != nil {
		return false
	}
	if folder, err := j.folder(); err == nil && isFolder(folder) {
		return true
	}
	_, err := exec.LookPath("mvn")
	return err == nil
}

func (j jars) folder() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "im", j.name), err
}

// fetch returns the folder, which it fills when it is not there. Others may do the
// same at this moment, so it gets its name when everything is in it.
func (j jars) fetch(ctx context.Context) (string, error) {
	folder, err := j.folder()
	if err != nil || isFolder(folder) {
		return folder, err
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	pom, fetched := filepath.Join(work, "pom.xml"), filepath.Join(work, "lib")
	if err := os.WriteFile(pom, j.pom, 0o600); err != nil {
		return "", err
	}
	maven := exec.CommandContext(ctx, "mvn", "--batch-mode", "--quiet", "--file", pom, "dependency:copy-dependencies", "-DoutputDirectory="+fetched) //nolint:gosec // the mvn on PATH
	if output, err := maven.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch %s with mvn: %w: %s", j.name, err, output)
	}
	if err := os.Rename(fetched, folder); err != nil && !isFolder(folder) {
		return "", err
	}
	return folder, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
