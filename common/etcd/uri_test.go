package etcd

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestURIs(t *testing.T) {
	for _, c := range []struct {
		uri       string
		endpoints []string
		user      string
		password  string
		cluster   string
	}{
		{"http://h:2379", []string{"http://h:2379"}, "", "", "im"},
		{" http://h:1 , http://i:2/blue", []string{"http://h:1", "http://i:2"}, "", "", "blue"},
		{"https://me:a%2Cb@h:1/blue/,https://i:2/green", []string{"https://h:1", "https://i:2"}, "me", "a,b", "blue"},
	} {
		o := Options{URI: c.uri}
		config, err := o.complete()
		if err != nil {
			t.Errorf("%s: %v", c.uri, err)
			continue
		}
		if !slices.Equal(config.Endpoints, c.endpoints) || config.Username != c.user || config.Password != c.password || o.Cluster != c.cluster {
			t.Errorf("%s: %v, %q, %q, %q", c.uri, config.Endpoints, config.Username, config.Password, o.Cluster)
		}
		if secure := strings.HasPrefix(c.uri, "https"); (config.TLS != nil) != secure {
			t.Errorf("%s: TLS is %v", c.uri, config.TLS)
		}
	}
}

func TestWrongOptions(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
		says    string
	}{
		{"no address", Options{}, "address 1"},
		{"no scheme", Options{URI: "h:2379"}, "address 1"},
		{"a password in a broken one", Options{URI: "http://h:1,http://me:secret@:%zz"}, "address 2"},
		{"both schemes", Options{URI: "http://h:1,https://i:1"}, "some https"},
		{"a user alone", Options{URI: "http://h:1", Username: "me"}, "needs a password"},
		{"an unknown parameter", Options{URI: "https://h:1?secret=1"}, "none of ca, cert and key"},
		{"a missing file", Options{URI: "https://h:1?ca=/none"}, "ca: "},
		{"no pair", Options{URI: "https://h:1?cert=/none"}, "cert and key: "},
		{"TLS without https", Options{URI: "http://h:1", TLS: &tls.Config{}}, "http"},
		{"half a second", Options{URI: "http://h:1", TTL: 1500 * time.Millisecond}, "whole seconds"},
		{"a cluster of two words", Options{URI: "http://h:1", Cluster: "a b"}, "no name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(t.Context(), c.options)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "registry.uri: ") {
				t.Fatalf("%v", err)
			}
			if strings.Contains(err.Error(), "me:secret") {
				t.Fatalf("shows a password: %v", err)
			}
		})
	}
}
