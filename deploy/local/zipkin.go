package local

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Zipkin is a Zipkin server with a port and a log of its own on the loopback
// address. It keeps its traces in memory: none outlive it. One goroutine uses it.
type Zipkin struct {
	service
	dir  string
	port int
}

const (
	zipkinReady = 2 * time.Minute  // bounds the wait for a Zipkin that starts
	zipkinEnd   = 10 * time.Second // and for one that is told to stop
)

//go:embed zipkin/pom.xml
var zipkinJar []byte

// zipkinServer names its jar, which Java 17 and later run, by the version in pom.xml.
func zipkinServer() jars { return jars{name: "zipkin-3.5.1", pom: zipkinJar} }

// HasZipkin reports whether StartZipkin can start one: there is a Java, and Maven
// unless the server has been fetched before.
func HasZipkin() bool { return zipkinServer().available() }

// StartZipkin starts a Zipkin with all its files in dir, on a port of 127.0.0.1, 0
// for one that is free. It waits until Zipkin answers, at most two minutes, and
// longer only for its first download of 130 MB.
func StartZipkin(ctx context.Context, dir string, port int) (*Zipkin, error) {
	z := &Zipkin{service: service{name: "Zipkin", patience: zipkinEnd}, dir: dir, port: port}
	if port == 0 {
		ports, err := FreePorts(1)
		if err != nil {
			return nil, err
		}
		z.port = ports[0]
	}
	if err := z.Start(ctx); err != nil {
		return nil, err
	}
	return z, nil
}

// Start starts it, after Stop or Kill without the traces that it had, and waits
// until it answers. One that runs is left alone; after an error nothing runs.
func (z *Zipkin) Start(ctx context.Context) error {
	if z.runs() {
		return nil
	}
	folder, err := zipkinServer().fetch(ctx)
	if err != nil {
		return fmt.Errorf("find Zipkin: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(folder, "zipkin-server-*.jar"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("find Zipkin: %d jars of it in %s, want one", len(found), folder)
	}
	if err := os.MkdirAll(z.dir, 0o700); err != nil {
		return fmt.Errorf("make Zipkin's folder: %w", err)
	}
	output := filepath.Join(z.dir, "zipkin.log")
	if z.server, err = startProcess(z.command(found[0]), output); err != nil {
		return fmt.Errorf("start Zipkin: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, zipkinReady)
	defer cancel()
	if err := z.server.until(bounded, func() bool {
		_, ok := health(bounded, z.URI())
		return ok
	}); err != nil {
		z.Kill()
		return fmt.Errorf("start Zipkin, see %s: %w", output, err)
	}
	return nil
}

// command keeps it small: little memory, so few traces, and a start in seconds
// rather than the fastest code.
func (z *Zipkin) command(jar string) *exec.Cmd {
	cmd := exec.Command("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", jar, //nolint:gosec // the java on PATH
		"--armeria.ports[0].ip=127.0.0.1", "--armeria.ports[0].port="+strconv.Itoa(z.port), "--armeria.ports[0].protocols[0]=http",
		"--zipkin.storage.type=mem", "--zipkin.storage.mem.max-spans=100000")
	cmd.Dir = z.dir
	return cmd
}

// URI returns its address: its pages are under /zipkin/, its API under /api/v2/.
func (z *Zipkin) URI() string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(z.port))
}

// Endpoint returns where it takes spans, as tracing.endpoint wants it.
func (z *Zipkin) Endpoint() string { return z.URI() + "/api/v2/spans" }
