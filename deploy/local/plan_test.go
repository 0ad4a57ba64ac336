package local

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// A folder that was a cluster's has the same ports and secrets when it is opened
// again.
func TestAClusterKeepsItsPorts(t *testing.T) {
	dir := t.TempDir()
	before, err := openPlan(dir)
	if err != nil {
		t.Fatal(err)
	}
	ports, err := before.ports("amqp", "etcd")
	if err != nil {
		t.Fatal(err)
	}

	if err := before.close(); err != nil {
		t.Fatal(err)
	}
	after, err := openPlan(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer after.close()
	again, err := after.ports("etcd", "http-1", "amqp")
	if err != nil {
		t.Fatal(err)
	}

	if again[0] != ports[1] || again[2] != ports[0] || slices.Contains(ports, again[1]) {
		t.Errorf("the ports were %v, are %v", ports, again)
	}
	if after.ServiceKey != before.ServiceKey || after.AuthSecret != before.AuthSecret || after.ClusterSecret != before.ClusterSecret {
		t.Error("the secrets are others")
	}
}

// Logs come out by whole lines, whatever pieces they were written in.
func TestLinesHaveTheirServerInFront(t *testing.T) {
	var text bytes.Buffer
	out := &output{to: &text}
	a, b := &lines{out: out, prefix: "a| "}, &lines{out: out, prefix: "b| "}
	for _, part := range []string{"one\ntw", "o\n", "\nthree"} {
		if n, err := a.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	for _, part := range []string{"other\n", strings.Repeat("x", longestLine), "yz\n"} {
		b.Write([]byte(part)) //nolint:errcheck // it never fails
	}

	want := "a| one\na| two\na| \nb| other\nb| " + strings.Repeat("x", longestLine) + "\nb| yz\n"
	if got := text.String(); got != want {
		t.Errorf("got %.60q … of %d bytes, want %d", got, len(got), len(want))
	}
}
