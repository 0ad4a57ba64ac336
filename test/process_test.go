package test

import (
	"testing"

	"github.com/im-transfer/im/deploy/local"
)

// startProcess starts a server as a process, on ports that stay the same over
// restarts, with changes to how it is started.
func startProcess(t *testing.T, settings map[string]string, changes ...func(*local.Options)) *server {
	t.Helper()
	s := newServer(t, settings)
	ports := freePorts(t, 4)
	for i, name := range []string{"http.listen", "websocket.listen", "tcp.listen", "admin.listen"} {
		s.settings[name] = ports[i]
	}
	s.at(ports[0], ports[1], ports[2])
	options := local.Options{Dir: t.TempDir(), Binary: serverProgram(t), Settings: s.settings, Output: s.log}
	for _, change := range changes {
		change(&options)
	}
	var err error
	s.process, err = local.StartEmbedded(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if err := s.process.Stop(); err != nil { // gives the folder back
			t.Error(err)
		}
	})
	s.key = s.process.ServiceKey
	s.began++
	return s
}

// startProcess starts it again, on the same data.
func (s *server) startProcess() {
	s.t.Helper()
	if err := s.process.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.began++
}

// kill is kill -9, which the server does not notice. It returns once the process
// is gone.
func (s *server) kill() {
	s.web.CloseIdleConnections()
	if s.process != nil {
		s.process.Kill()
	}
}
