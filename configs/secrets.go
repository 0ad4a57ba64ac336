package configs

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// secret is a setting that comes from its environment variable or from the file
// that another setting names. A URI may also stand in the configuration file.
type secret struct {
	key     string
	value   *Secret
	file    string
	min     int  // bytes
	several bool // there may be more than one, each with so many
}

func (c *Config) secrets() []secret {
	return []secret{
		{"http.service_key", &c.HTTP.ServiceKey, c.HTTP.ServiceKeyFile, 16, false},
		{"auth.secret", &c.Auth.Secret, c.Auth.SecretFile, 32, false},
		{"cluster.secret", &c.Cluster.Secret, c.Cluster.SecretFile, 32, true},
		{"store.uri", &c.Store.URI, c.Store.URIFile, 1, false},
		{"queue.uri", &c.Queue.URI, c.Queue.URIFile, 1, false},
		{"registry.uri", &c.Registry.URI, c.Registry.URIFile, 1, false},
	}
}

// secretKeys are the settings that must not stand in a file of settings.
var secretKeys = []string{"http.service_key", "auth.secret", "cluster.secret"}

// readSecrets fills in these secrets, or all when none is named.
func (c *Config) readSecrets(env environment, only ...string) error {
	var errs []error
	for _, s := range c.secrets() {
		if len(only) == 0 || slices.Contains(only, s.key) {
			errs = append(errs, s.read(env))
		}
	}
	return errors.Join(errs...)
}

// read fills the secret in: the environment wins over the file.
func (s *secret) read(env environment) error {
	if value := env.lookup(Variable(s.key)); value != "" {
		*s.value = Secret(value)
	} else if s.file != "" {
		if *s.value != "" {
			return fmt.Errorf("%s and %s_file are both given", s.key, s.key)
		}
		text, err := env.readFile(s.file)
		if err != nil {
			return fmt.Errorf("%s_file: %w", s.key, err)
		}
		*s.value = Secret(text)
	}
	values := []string{string(*s.value)}
	if s.several {
		values = s.value.Several()
	}
	for _, value := range values {
		if n := len(value); n > 0 && n < s.min {
			return fmt.Errorf("%s must be at least %d bytes, not %d", s.key, s.min, n)
		}
	}
	return nil
}

// Several returns the secrets that one setting holds with white space between them.
func (s Secret) Several() []string { return strings.Fields(string(s)) }

// Addresses returns the addresses that one setting holds with commas between them.
func (s Secret) Addresses() []string {
	addresses := strings.Split(string(s), ",")
	for i, address := range addresses {
		addresses[i] = strings.TrimSpace(address)
	}
	return addresses
}

// known reports whether it is there, and not just what an environment may give.
func (s Secret) known() bool { return strings.Trim(string(s), unknown) != "" }

// hasPassword reports whether one of the comma-separated addresses has a password.
// What is no address is judged to have one if it has an @.
func hasPassword(uris string) bool {
	for uri := range strings.SplitSeq(uris, ",") {
		u, err := url.Parse(strings.TrimSpace(uri))
		if err != nil {
			return strings.Contains(uris, "@")
		}
		if _, is := u.User.Password(); is {
			return true
		}
	}
	return false
}
