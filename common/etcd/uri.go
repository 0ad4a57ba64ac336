package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// parse reads the addresses, and fills in those options that only the URI gives. Its
// errors do not show the URI, which may hold a password.
func (o *Options) parse() (clientv3.Config, error) {
	var config clientv3.Config
	files := map[string]string{}
	for i, text := range strings.Split(o.URI, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return config, fmt.Errorf("address %d is not of the form http://host:2379 or https://host:2379", i+1)
		}
		config.Endpoints = append(config.Endpoints, u.Scheme+"://"+u.Host)
		if !strings.HasPrefix(config.Endpoints[0], u.Scheme+":") {
			return config, errors.New("some addresses are http and some https")
		}
		if err := o.take(u, files); err != nil {
			return config, fmt.Errorf("address %d: %w", i+1, err)
		}
	}
	config.Username, config.Password = o.Username, o.Password
	if (o.Username == "") != (o.Password == "") {
		return config, errors.New("a user needs a password, and a password a user")
	}
	return config, o.secure(&config, files)
}

// take fills in what an address says besides the host, unless something has said it
// before.
func (o *Options) take(u *url.URL, files map[string]string) error {
	if password, is := u.User.Password(); is && o.Username == "" {
		o.Username, o.Password = u.User.Username(), password
	}
	if name := strings.Trim(u.Path, "/"); o.Cluster == "" {
		o.Cluster = name
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("what follows the question mark can not be read")
	}
	for name := range query {
		if name != "ca" && name != "cert" && name != "key" {
			return fmt.Errorf("%q is none of ca, cert and key", name)
		}
		files[name] = query.Get(name)
	}
	return nil
}

// secure sets the TLS configuration of https addresses.
func (o *Options) secure(config *clientv3.Config, files map[string]string) error {
	if !strings.HasPrefix(config.Endpoints[0], "https:") {
		if len(files) > 0 || o.TLS != nil {
			return errors.New("TLS is set up, but the addresses are http")
		}
		return nil
	}
	if config.TLS = o.TLS; config.TLS != nil {
		return nil
	}
	config.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if name := files["ca"]; name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		config.TLS.RootCAs = x509.NewCertPool()
		if !config.TLS.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("ca: %s holds no certificate", name)
		}
	}
	if files["cert"] != "" || files["key"] != "" {
		pair, err := tls.LoadX509KeyPair(files["cert"], files["key"])
		if err != nil {
			return fmt.Errorf("cert and key: %w", err)
		}
		config.TLS.Certificates = []tls.Certificate{pair}
	}
	return nil
}
