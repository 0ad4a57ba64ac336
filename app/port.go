package app

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/im-transfer/im/configs"
)

// taken says, where a listener failed because another has the port, who that is, if the
// system tells, and what to do about it. Other errors are left as they are.
func taken(setting string, err error) error {
	var failed *net.OpError
	if !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &failed) {
		return err
	}
	holder := "another process"
	if address, ok := failed.Addr.(*net.TCPAddr); ok {
		if found := holderOf(address.Port); found != "" {
			holder = found
		}
	}
	return fmt.Errorf("%w: %s has the port; stop that, or listen elsewhere with --set %s=host:port or %s", err, holder, setting, configs.Variable(setting))
}
