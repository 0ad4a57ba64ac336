package local

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Embedded is one process with every role, on the embedded drivers.
type Embedded struct {
	*Server
	ServiceKey string // of the HTTP API
	Disk       *Disk  // that the data are on, which go with it; nil: that of the machine

	plan *plan
	log  io.Closer // nil = the caller's
}

// StartEmbedded starts it, on the data that the folder has if it was one's before.
// Of the options it takes the folder, the binary, the settings, the output and the
// disk. After an error nothing runs.
func StartEmbedded(ctx context.Context, options Options) (*Embedded, error) {
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkSettings(ctx, options.Binary, options.Settings); err != nil {
		return nil, err
	}
	plan, err := openPlan(dir)
	if err != nil {
		return nil, err
	}
	e := &Embedded{ServiceKey: plan.ServiceKey, plan: plan}
	if options.Output == nil {
		file, err := os.OpenFile(filepath.Join(dir, "servers.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, errors.Join(err, plan.close())
		}
		options.Output, e.log = file, file
	}
	if e.Server, err = newEmbedded(dir, plan, options); err == nil {
		err = e.start(ctx, options.Disk)
	}
	if err != nil {
		return nil, errors.Join(err, e.release())
	}
	return e, nil
}

func (e *Embedded) start(ctx context.Context, disk int64) (err error) {
	if disk > 0 {
		if err := os.MkdirAll(e.settings["data_dir"], 0o700); err != nil {
			return err
		}
		if e.Disk, err = MakeDisk(e.settings["data_dir"], disk); err != nil {
			return err
		}
		e.disk = e.Disk
	}
	return e.Start(ctx)
}

func newEmbedded(dir string, plan *plan, options Options) (*Server, error) {
	listeners := []string{"http.listen", "websocket.listen", "tcp.listen", "admin.listen"}
	ports, err := plan.ports(listeners...)
	if err != nil {
		return nil, err
	}
	settings := map[string]string{"data_dir": filepath.Join(dir, "data"), "http.service_key": plan.ServiceKey}
	for i, name := range listeners {
		settings[name] = loopback(ports[i])
	}
	for name, value := range options.Settings {
		settings[name] = value
	}
	clock := ""
	if options.Clocks {
		clock = filepath.Join(dir, "all.clock")
	}
	return &Server{
		clock: clock, service: service{name: "all", patience: serverEnd}, Role: "all", binary: options.Binary, settings: settings,
		output: &lines{out: &output{to: options.Output}, prefix: "all | "},
	}, nil
}

// URL returns the base of the HTTP API.
func (e *Embedded) URL() string { return "http://" + e.settings["http.listen"] }

// Stop stops it. The data stays, unless it has a disk of its own. It may be called
// again.
func (e *Embedded) Stop() error {
	return errors.Join(e.Server.Stop(), e.release())
}

// release closes the files that are held while it may run.
func (e *Embedded) release() error {
	err := e.plan.close()
	if e.Disk != nil {
		e.Disk.Close()
	}
	if e.log != nil {
		err = errors.Join(err, e.log.Close())
		e.log = nil
	}
	return err
}
