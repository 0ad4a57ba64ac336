package local

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// plan is what a cluster's folder must keep from one start to the next: whoever
// changed a port would be another RabbitMQ node or another member of a replica set.
type plan struct {
	file string
	lock *os.File // of the folder; nil when it has been given up

	Ports         map[string]int `json:"ports"` // by what listens there
	ClusterSecret string         `json:"cluster_secret"`
	AuthSecret    string         `json:"auth_secret"`
	ServiceKey    string         `json:"service_key"`
}

// openPlan takes a folder for this process, until close, and reads its plan or makes
// one.
func openPlan(dir string) (*plan, error) {
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	p, err := readPlan(dir)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	p.lock = lock
	return p, nil
}

// close gives the folder up. It may be called again.
func (p *plan) close() error {
	if p.lock == nil {
		return nil
	}
	err := p.lock.Close()
	p.lock = nil
	return err
}

func readPlan(dir string) (*plan, error) {
	p := &plan{
		file: filepath.Join(dir, "cluster.json"), Ports: map[string]int{},
		ClusterSecret: rand.Text() + rand.Text(), AuthSecret: rand.Text() + rand.Text(), ServiceKey: rand.Text(),
	}
	text, err := os.ReadFile(p.file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return p, p.save()
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("read %s: %w", p.file, err)
	}
	return p, nil
}

func (p *plan) save() error {
	text, err := json.MarshalIndent(p, "", "  ") //nolint:gosec // secrets of a cluster on loopback, in a file of its owner
	if err != nil {
		return err
	}
	return os.WriteFile(p.file, text, 0o600)
}

// ports returns the ports of these, choosing free ones for those that have none.
func (p *plan) ports(names ...string) ([]int, error) {
	fresh, err := FreePorts(len(names))
	if err != nil {
		return nil, err
	}
	ports, chosen := make([]int, len(names)), false
	for i, name := range names {
		if p.Ports[name] == 0 {
			p.Ports[name], chosen = fresh[i], true
		}
		ports[i] = p.Ports[name]
	}
	if !chosen {
		return ports, nil
	}
	return ports, p.save()
}
