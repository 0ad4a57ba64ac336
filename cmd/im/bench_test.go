package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBenchFindsTheServiceKey(t *testing.T) {
	dir := t.TempDir()
	if key, err := serviceKey("", dir); key != "" || err != nil {
		t.Fatalf("%q, %v where there is none", key, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "service.key"), []byte("from the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := serviceKey("", dir); key != "from the file" || err != nil {
		t.Fatalf("%q, %v", key, err)
	}
	if key, _ := serviceKey("given", dir); key != "given" {
		t.Fatalf("%q, not the one that was given", key)
	}
}

func TestBenchRefusesAWrongMode(t *testing.T) {
	command := newBenchCommand()
	var out bytes.Buffer
	command.SetOut(&out)
	command.SetErr(&out)
	command.SetArgs([]string{"everything", "--data-dir", t.TempDir()})
	if err := command.Execute(); err == nil || !strings.Contains(err.Error(), `mode is "everything"`) {
		t.Fatalf("%v\n%s", err, out.String())
	}
}
