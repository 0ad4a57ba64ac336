package app

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/im-transfer/im/configs"
)

// notAuthenticated is all that a call without a good credential is told, with the time
// in Unix seconds behind it: no secret, and what a server of ours needs to find out
// why it is refused.
const notAuthenticated = "not authenticated at "

func refusal(now time.Time) error {
	return status.Error(codes.Unauthenticated, notAuthenticated+strconv.FormatInt(now.Unix(), 10))
}

// explainer returns what an operator should look at when a transfer can not be
// reached, for which the error alone is too far from the cause; empty where the error
// says enough. gRPC hands errors on as text, so that is what tells them apart.
func explainer(c configs.Cluster, now func() time.Time) func(error) string {
	return func(err error) string {
		text := err.Error()
		says := func(parts ...string) bool {
			for _, part := range parts {
				if strings.Contains(text, part) {
					return true
				}
			}
			return false
		}
		switch broken := says("error reading server preface", "broken pipe", "connection reset", "remote error: tls"); {
		case status.Code(err) == codes.Unauthenticated:
			return explainRefusal(status.Convert(err).Message(), now())
		case says("does not look like a TLS handshake"):
			return "this server speaks TLS and the transfer does not: cluster.tls_cert_file must be set on all servers or on none"
		case says("failed to verify certificate"):
			return "this server does not trust the transfer's certificate: it must be signed by an authority in cluster.tls_ca_file here, " +
				"and name the host of transfer.advertise there"
		case broken && c.CertFile == "":
			return "the transfer may speak TLS, and this server does not: cluster.tls_cert_file must be set on all servers or on none"
		case broken:
			return "the transfer may not trust this server's certificate, cluster.tls_cert_file: it must be signed by an authority in " +
				"cluster.tls_ca_file there; its log says why"
		case says("connection refused", "no such host"):
			return "nobody is at this address, which is what transfer.advertise, or else transfer.listen, says on the transfer's side"
		}
		return ""
	}
}

// explainRefusal tells a clock that is off from a wrong secret, by the transfer's time.
func explainRefusal(message string, now time.Time) string {
	seconds, err := strconv.ParseInt(strings.TrimPrefix(message, notAuthenticated), 10, 64)
	if apart := now.Sub(time.Unix(seconds, 0)).Round(time.Second); err == nil && apart.Abs() > credentialLife {
		return fmt.Sprintf("the clocks of this server and of the transfer are %s apart, more than %s: set them right", apart.Abs(), credentialLife)
	}
	return "the transfer does not know this server's secret: cluster.secret (" + configs.Variable("cluster.secret") +
		", or the file named by cluster.secret_file) must be the same on all servers"
}
