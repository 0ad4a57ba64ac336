package local

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// The stand-in: a few lines of Java around mongo-java-server. Java 11 and later
// run a source file as it is; Maven fetches the libraries once.
var (
	//go:embed mongo-java/StandIn.java
	standInSource []byte
	//go:embed mongo-java/pom.xml
	standInLibraries []byte
)

// standInVersion names the folder of the libraries; it is the version in pom.xml.
const standInVersion = "1.47.0"

// javaCommand runs the stand-in on data/mongo.h2, or in memory.
func (m *Mongo) javaCommand(ctx context.Context) (*exec.Cmd, error) {
	libraries, err := standInFolder()
	if err != nil {
		return nil, err
	}
	if !isFolder(libraries) {
		if err := fetchStandIn(ctx, libraries); err != nil {
			return nil, err
		}
	}
	source := filepath.Join(m.dir, "StandIn.java")
	if err := os.WriteFile(source, standInSource, 0o600); err != nil {
		return nil, err
	}
	arguments := []string{"-XX:MaxRAMPercentage=50", "-cp", filepath.Join(libraries, "*"), source, strconv.Itoa(m.port)}
	if !m.memory {
		arguments = append(arguments, filepath.Join(m.dir, "data", "mongo.h2"))
	}
	return exec.Command("java", arguments...), nil //nolint:gosec // the java on PATH
}

func hasMongoJava() bool {
	if _, err := exec.LookPath("java"); err != nil {
		return false
	}
	if libraries, err := standInFolder(); err == nil && isFolder(libraries) {
		return true
	}
	_, err := exec.LookPath("mvn")
	return err == nil
}

// standInFolder is where the libraries are kept between runs.
func standInFolder() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "im", "mongo-java-"+standInVersion), err
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// fetchStandIn lets Maven copy the libraries into a new folder, which gets its name
// when all of them are there: others may do the same at this moment.
func fetchStandIn(ctx context.Context, libraries string) error {
	if err := os.MkdirAll(filepath.Dir(libraries), 0o700); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(libraries), "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	pom, fetched := filepath.Join(work, "pom.xml"), filepath.Join(work, "lib")
	if err := os.WriteFile(pom, standInLibraries, 0o600); err != nil {
		return err
	}
	maven := exec.CommandContext(ctx, "mvn", "--batch-mode", "--quiet", "--file", pom, "dependency:copy-dependencies", "-DoutputDirectory="+fetched) //nolint:gosec // the mvn on PATH
	if output, err := maven.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch mongo-java-server with mvn: %w: %s", err, output)
	}
	if err := os.Rename(fetched, libraries); err != nil && !isFolder(libraries) {
		return err
	}
	return nil
}
