package app

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Who meets a taken port is told which setting to change, how, and who has the port.
func TestATakenPortSaysWhatToDo(t *testing.T) {
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	for _, listener := range []string{"http", "websocket", "tcp", "admin"} {
		config := defaultConfig(t)
		config.DataDir = t.TempDir()
		config.HTTP.Listen, config.WebSocket.Listen, config.TCP.Listen, config.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		*map[string]*string{
			"http": &config.HTTP.Listen, "websocket": &config.WebSocket.Listen, "tcp": &config.TCP.Listen, "admin": &config.Admin.Listen,
		}[listener] = holder.Addr().String()
		_, err := New(t.Context(), All, config, Options{})
		wants := []string{"--set " + listener + ".listen=", "IM_" + strings.ToUpper(listener) + "_LISTEN"}
		if runtime.GOOS == "linux" {
			wants = append(wants, "process "+strconv.Itoa(os.Getpid())+" (")
		}
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", listener, err, want)
			}
		}
	}
	if other := errors.New("other"); !errors.Is(taken("http.listen", other), other) || taken("http.listen", other).Error() != "other" {
		t.Error("another error is changed")
	}
}
