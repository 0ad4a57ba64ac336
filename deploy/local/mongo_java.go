package local

import (
	"context"
	_ "embed"
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

// standIn names its libraries by the version in pom.xml.
func standIn() jars { return jars{name: "mongo-java-1.47.0", pom: standInLibraries} }

// javaCommand runs the stand-in on data/mongo.h2, or in memory.
func (m *Mongo) javaCommand(ctx context.Context) (*exec.Cmd, error) {
	libraries, err := standIn().fetch(ctx)
	if err != nil {
		return nil, err
	}
	source := filepath.Join(m.dir, "StandIn.java")
	if err := os.WriteFile(source, standInSource, 0o600); err != nil {
		return nil, err
	}
	arguments := []string{"-XX:MaxRAMPercentage=50", "-cp", filepath.Join(libraries, "*"), source, strconv.Itoa(m.port)}
	if !m.memory { // slow anyway: better that it is as quick after a restart as before
		arguments = append([]string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}, append(arguments, filepath.Join(m.dir, "data", "mongo.h2"))...)
	}
	return exec.Command("java", arguments...), nil //nolint:gosec // the java on PATH
}
