package compose_test

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/im-transfer/im/configs"
)

// file is docker-compose.yaml as far as it is about our servers.
type file struct {
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
}

type service struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	DependsOn   map[string]any    `yaml:"depends_on"`
	ReadOnly    bool              `yaml:"read_only"`
	Health      struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
}

var roles = []string{"http", "websocket", "tcp", "transfer"}

func read(t *testing.T) file {
	t.Helper()
	text, err := os.ReadFile("docker-compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	given := regexp.MustCompile(`\$\{(\w+):\?[^}]*\}`)
	decoder := yaml.NewDecoder(strings.NewReader(given.ReplaceAllString(string(text), strings.Repeat("s", 64))))
	var f file
	if err := decoder.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

// role returns which of our servers a service is, and "" for an engine.
func (s *service) role() string {
	if s.Image != "im" || len(s.Command) != 1 || !slices.Contains(roles, s.Command[0]) {
		return ""
	}
	return s.Command[0]
}

// The settings of every server are what the server takes: none is misspelt, none is
// missing for its role, and the addresses in them name services of this file.
func TestTheServersTakeTheirSettings(t *testing.T) {
	f := read(t)
	count := map[string]int{}
	for name, s := range f.Services {
		role := s.role()
		if role == "" {
			continue
		}
		count[role]++
		t.Run(name, func(t *testing.T) {
			var variables []string
			for key, value := range s.Environment {
				t.Setenv(key, value)
				variables = append(variables, key+"="+value)
			}
			if unknown := configs.Unknown(variables); len(unknown) > 0 {
				t.Errorf("no settings: %v", unknown)
			}
			config, err := configs.Load("", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := config.CheckRole(role); err != nil {
				t.Error(err)
			}
			for _, engine := range []string{"mongo", "rabbitmq", "etcd"} {
				if _, is := s.DependsOn[engine]; !is {
					t.Errorf("it does not wait for %s", engine)
				}
			}
			for _, uri := range []string{string(config.Store.URI), string(config.Queue.URI), string(config.Registry.URI), config.Tracing.Endpoint} {
				host := regexp.MustCompile(`^\w+://(?:[^@/]*@)?([^:/]+)`).FindStringSubmatch(uri)
				if host == nil {
					t.Fatalf("no host in %q", uri)
				}
				if _, is := f.Services[host[1]]; !is {
					t.Errorf("%s names %s, which is no service", uri, host[1])
				}
			}
			if want := []string{"CMD", "/im", "ready", role}; !slices.Equal(s.Health.Test, want) {
				t.Errorf("its health check is %v, want %v", s.Health.Test, want)
			}
			if !s.ReadOnly {
				t.Error("it may write to its image")
			}
		})
	}
	for _, role := range roles {
		if count[role] != 2 {
			t.Errorf("%d %s servers, want 2", count[role], role)
		}
	}
}

// What clients and servers are told leads to where a server listens.
func TestThePortsMatch(t *testing.T) {
	f := read(t)
	published := map[string]string{}
	var pages []string
	for name, s := range f.Services {
		for _, mapping := range s.Ports {
			parts := strings.Split(mapping, ":")
			host := parts[len(parts)-2]
			if other := published[host]; other != "" {
				t.Errorf("%s and %s are both published as %s", name, other, host)
			}
			published[host] = name
			if s.role() == "http" {
				pages = append(pages, "http://localhost:"+host)
			}
		}
	}
	slices.Sort(pages)
	for name, s := range f.Services {
		role := s.role()
		if role == "" {
			continue
		}
		listens := port(t, s.Environment["IM_"+strings.ToUpper(role)+"_LISTEN"])
		advertised := s.Environment["IM_"+strings.ToUpper(role)+"_ADVERTISE"]
		switch role {
		case "transfer":
			if advertised != fmt.Sprintf("%s:%s", name, listens) {
				t.Errorf("%s says that it is at %s", name, advertised)
			}
		case "http":
			advertised = "localhost:" + strings.Split(s.Ports[0], ":")[0]
			fallthrough
		default:
			if len(s.Ports) != 1 || s.Ports[0] != port(t, advertised)+":"+listens {
				t.Errorf("%s listens on %s, is published as %v, and says %s", name, listens, s.Ports, advertised)
			}
		}
		if role == "websocket" {
			if origins := strings.Split(s.Environment["IM_WEBSOCKET_ORIGINS"], ","); !slices.Equal(origins, pages) {
				t.Errorf("%s lets pages of %v connect, want %v", name, origins, pages)
			}
		}
	}
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// What the engines keep is on volumes, which outlive their containers.
func TestTheEnginesKeepTheirData(t *testing.T) {
	f := read(t)
	for engine, path := range map[string]string{"rabbitmq": "/var/lib/rabbitmq", "etcd": "/var/lib/etcd", "mongo": "/data/db"} {
		s := f.Services[engine]
		if !slices.Contains(s.Volumes, engine+":"+path) {
			t.Errorf("%s has volumes %v", engine, s.Volumes)
		}
		if _, is := f.Volumes[engine]; !is {
			t.Errorf("there is no volume %s", engine)
		}
	}
}
