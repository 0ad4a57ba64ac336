package http

import (
	"net/http"
	"net/netip"
	"strings"
)

// remoteOf returns the client's address: the peer's, or where the peer is a
// trusted proxy, the last one in X-Forwarded-For that is not.
func (s *Server) remoteOf(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	address := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.trusted(address); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		address = hop.Unmap()
	}
	return address.String()
}

func (s *Server) trusted(address netip.Addr) bool {
	for _, proxy := range s.config.Proxies {
		if proxy.Contains(address) {
			return true
		}
	}
	return false
}

// network is what log-ins from an address are counted under: one customer of
// IPv6 has a /64 at least.
func network(address string) string {
	parsed, err := netip.ParseAddr(address)
	if err != nil || parsed.Is4() {
		return address
	}
	prefix, err := parsed.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}
