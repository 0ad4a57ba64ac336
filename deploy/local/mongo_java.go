package local

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// The stand-in: mongo-java-server, and in Java what it lacks: ordered indexes, and a
// journal. Java 11 and later run a source file as it is; Maven fetches the libraries
// once.
var (
	//go:embed mongo-java/StandIn.java
	standInSource []byte
	//go:embed mongo-java/pom.xml
	standInLibraries []byte
)

// standIn names its libraries by the version in pom.xml.
func standIn() jars { return jars{name: "mongo-java-1.47.0", pom: standInLibraries} }

// javaCommand runs the stand-in on the journals in data.
func (m *Mongo) javaCommand(ctx context.Context) (*exec.Cmd, error) {
	libraries, err := standIn().fetch(ctx)
	if err != nil {
		return nil, err
	}
	source := filepath.Join(m.dir, "StandIn.java")
	if err := os.WriteFile(source, standInSource, 0o600); err != nil {
		return nil, err
	}
	return exec.Command("java", "-XX:MaxRAMPercentage=50", "-cp", filepath.Join(libraries, "*"), source, //nolint:gosec // the java on PATH
		strconv.Itoa(m.port), filepath.Join(m.dir, "data")), nil
}
