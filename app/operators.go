package app

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/im-transfer/im/configs"
)

// doorkeeper keeps pages in an operator's browser away from the operators' listener. A
// page may have a name of its own resolve to our address (DNS rebinding) and then
// read what it likes as its own origin; what it can not do is send another Host
// than that name. And it can send no header of its own to another origin unasked.
type doorkeeper struct {
	names map[string]bool // lower case, without ports
	next  http.Handler
}

// newDoorkeeper lets through what is asked for by the host that is listened on, by a
// configured name, by "localhost", or by an IP address, which nobody can rebind.
func newDoorkeeper(listen string, hosts []string, next http.Handler) *doorkeeper {
	names := map[string]bool{"localhost": true, nameOf(listen): true}
	for _, host := range hosts {
		names[strings.ToLower(host)] = true
	}
	return &doorkeeper{names: names, next: next}
}

func (d *doorkeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Nothing of this is for a browser to guess at.
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case !d.known(r.Host):
		say(w, http.StatusMisdirectedRequest,
			fmt.Sprintf("this listener does not answer to %q: if that is its name, add it to admin.hosts (%s)", r.Host, configs.Variable("admin.hosts")))
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Header.Get(OperatorHeader) == "":
		say(w, http.StatusForbidden, "what changes something needs the header "+OperatorHeader+", with any value")
	default:
		d.next.ServeHTTP(w, r)
	}
}

// OperatorHeader is what a request to the operators' listener that changes something
// must carry, with any value: no browser lets a page send it to another origin
// without asking there first, and that is not answered.
const OperatorHeader = "X-Requested-By"

// known reports whether a request with this Host was meant for us. Browsers always
// send one; who sends none (HTTP/1.0, some health checkers) is no page.
func (d *doorkeeper) known(host string) bool {
	name := nameOf(host)
	_, err := netip.ParseAddr(name)
	return host == "" || err == nil || d.names[name]
}

// nameOf returns the host of host:port or of a host alone, in lower case and without
// brackets.
func nameOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	}
	return strings.ToLower(host)
}
