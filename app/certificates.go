package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/im-transfer/im/common/certificates"
	"github.com/im-transfer/im/configs"
)

// stopper ends what a function has started.
type stopper func(context.Context) error

func nothingToStop(context.Context) error { return nil }

// openCertificates follows the files of a section of the settings; nil when it
// names none.
func openCertificates(files certificates.Files, section string, log *slog.Logger) (*certificates.Source, stopper, error) {
	if files.Cert == "" {
		return nil, nothingToStop, nil
	}
	source, err := certificates.Open(files, log.With("section", section))
	if err != nil {
		return nil, nil, fmt.Errorf("%s.%w", section, err)
	}
	return source, func(context.Context) error { return source.Close() }, nil
}

// listenerTLS is the TLS of a listener for clients; nil when there are no files.
func listenerTLS(c configs.TLS, section string, log *slog.Logger) (*tls.Config, stopper, error) {
	source, stop, err := openCertificates(certificates.Files{Cert: c.CertFile, Key: c.KeyFile}, section, log)
	if source == nil {
		return nil, stop, err
	}
	return source.Listener(), stop, nil
}

// openClusterCertificates follows the files of section cluster; nil when it names
// none.
func openClusterCertificates(c configs.Cluster, log *slog.Logger) (*certificates.Source, stopper, error) {
	return openCertificates(certificates.Files{Cert: c.CertFile, Key: c.KeyFile, CA: c.CAFile}, "cluster", log)
}

// clusterTLS is the transport between servers: TLS 1.3, with cluster.tls_ca_file
// both sides verified. Each connection uses the certificates of its time.
type clusterTLS struct {
	credentials.TransportCredentials // of no connection; what all have in common
	source                           *certificates.Source
	refused                          func(net.Conn, error) // is told of connections that were not accepted; nil = nobody is
}

func newClusterTLS(source *certificates.Source) clusterTLS {
	return clusterTLS{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13}), source: source}
}

// ServerHandshake accepts a connection.
func (c clusterTLS) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := c.now().ServerHandshake(conn)
	if err != nil && c.refused != nil {
		c.refused(conn, err)
	}
	return secured, info, err
}

// ClientHandshake begins one. The server's certificate must be for the host that
// was dialed.
func (c clusterTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.now().ClientHandshake(ctx, authority, conn)
}

// Clone returns c, which has no state of its own.
func (c clusterTLS) Clone() credentials.TransportCredentials { return c }

// now is what a connection of this moment uses. There are no session tickets: by one
// of them a client would come back whose certificate is no longer good.
func (c clusterTLS) now() credentials.TransportCredentials {
	material := c.source.Now()
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*material.Certificate}, SessionTicketsDisabled: true,
	}
	if material.CA != nil {
		config.RootCAs, config.ClientCAs, config.ClientAuth = material.CA, material.CA, tls.RequireAndVerifyClientCert
	}
	return credentials.NewTLS(config)
}
