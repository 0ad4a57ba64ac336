package http

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

func TestPages(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string][2]string{
		"/":                 {"text/html; charset=utf-8", "im chat"},
		"/docs":             {"text/html; charset=utf-8", "/assets/docs.js"},
		"/assets/docs.js":   {"text/javascript; charset=utf-8", "openapi.json"},
		"/assets/status.js": {"text/javascript; charset=utf-8", "openapi.json"},
		"/assets/im.css":    {"text/css; charset=utf-8", "body"},
		"/assets/im.svg":    {"image/svg+xml", "<svg"},
		"/openapi.json":     {"application/json", `"openapi":"3.1.0"`},
	} {
		page := w.call("GET", path, "", nil).ok(path, 200)
		if page.header.Get("Content-Type") != want[0] || !strings.Contains(page.text, want[1]) {
			t.Errorf("%s: %s, and %q is not in it", path, page.header.Get("Content-Type"), want[1])
		}
		if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if page.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: may be sniffed", path)
		}
		w.call("GET", path, "", nil, "If-None-Match", page.header.Get("ETag")).ok(path+" unchanged", 304)
		w.call("HEAD", path, "", nil).ok(path+" head", 200)
	}
}

// The pages work without a network: all that they load is served here, and
// nothing is inline, which the policy forbids.
func TestPagesLoadNothingFromElsewhere(t *testing.T) {
	w := newWorld(t)
	loads := regexp.MustCompile(`(?:src|href)="([^"#]+)"`)
	for _, path := range []string{"/", "/docs"} {
		page := w.call("GET", path, "", nil).ok(path, 200)
		for _, found := range loads.FindAllStringSubmatch(page.text, -1) {
			w.call("GET", found[1], "", nil).ok(path+" loads "+found[1], 200)
		}
		for _, inline := range []string{"<style", " style=", " onclick=", "<script>"} {
			if strings.Contains(page.text, inline) {
				t.Errorf("%s has %s", path, inline)
			}
		}
	}
}

func TestTheOpenAPIDocument(t *testing.T) {
	w := newWorld(t)
	document := w.call("GET", "/openapi.json", "", nil).ok("document", 200)
	document.is("openapi", `"3.1.0"`)
	schemas := document.content["components"].(map[string]any)["schemas"].(map[string]any)
	for _, ref := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(document.text, -1) {
		if schemas[ref[1]] == nil {
			t.Errorf("schema %s is not there", ref[1])
		}
	}
	ids, open := map[string]bool{}, map[string]bool{"create-user": true, "create-session": true, "refresh-session": true}
	for path, item := range document.content["paths"].(map[string]any) {
		for method, value := range item.(map[string]any) {
			name := method + " " + path
			operation := value.(map[string]any)
			id, _ := operation["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s: operation id %q is missing or double", name, id)
			}
			ids[id] = true
			if operation["summary"] == "" || operation["description"] == "" || operation["tags"] == nil {
				t.Errorf("%s is not described", name)
			}
			if (operation["security"] == nil) != open[id] {
				t.Errorf("%s: security %v", name, operation["security"])
			}
			checkOperation(t, name, operation)
			for _, parameter := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				if encoded, _ := json.Marshal(operation["parameters"]); !bytes.Contains(encoded, []byte(`"`+parameter[1]+`"`)) {
					t.Errorf("%s: parameter %s is not described", name, parameter[1])
				}
			}
		}
	}
	if len(ids) != 69 {
		t.Errorf("%d operations, want 65: %v", len(ids), ids)
	}
}

// checkOperation sees that bodies have schemas and errors are problems.
func checkOperation(t *testing.T, name string, operation map[string]any) {
	t.Helper()
	responses := operation["responses"].(map[string]any)
	problem, _ := json.Marshal(responses["default"])
	if !bytes.Contains(problem, []byte(`"application/problem+json":{"schema":{"$ref":"#/components/schemas/Problem"}}`)) {
		t.Errorf("%s: errors are %s", name, problem)
	}
	success := 0
	for status, response := range responses {
		content, _ := response.(map[string]any)["content"].(map[string]any)
		if status[0] == '2' {
			success++
		}
		if len(content) == 0 && status != "204" {
			t.Errorf("%s: %s has no schema", name, status)
		}
	}
	if success != 1 {
		t.Errorf("%s: %d answers of success", name, success)
	}
}

// The fields of bodies that are messages come from the proto, with its names.
func TestSchemasOfProtoMessages(t *testing.T) {
	w := newWorld(t)
	document := w.call("GET", "/openapi.json", "", nil).ok("document", 200)
	schemas := document.content["components"].(map[string]any)["schemas"].(map[string]any)
	for name, fields := range map[string]string{
		"Send":    "client_msg_id after to content attributes options b3",
		"To":      "user_id group_id room_id conversation_id",
		"Content": "type text data file_id mentions reply_to thread_id forwarded_from",
		"Message": "message_id conversation_id conversation_type conversation_seq sender_id content attributes sent_at_ms edited_at_ms " +
			"expires_at_ms version recalled deleted reactions sender_device_id client_msg_id no_unread",
		"SyncReply": "entries head has_more too_long inbox_epoch",
		"Profile":   "data",
		"Problem":   "type title status code detail retry_after_ms",
	} {
		schema, _ := schemas[name].(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		for _, field := range strings.Fields(fields) {
			if properties[field] == nil {
				t.Errorf("%s has no %s", name, field)
			}
		}
		if want := len(strings.Fields(fields)); len(properties) != want {
			t.Errorf("%s has %d fields, want %d", name, len(properties), want)
		}
	}
	codes := schemas["Problem"].(map[string]any)["properties"].(map[string]any)["code"].(map[string]any)["enum"].([]any)
	if len(codes) != len(im.Codes) {
		t.Errorf("%d codes are described, want %d", len(codes), len(im.Codes))
	}
}

// The page shows the operations of the chapters that the document names, so that these
// must be all there are.
func TestEveryOperationHasAChapter(t *testing.T) {
	w := newWorld(t)
	var document struct {
		Tags  []struct{ Name string }
		Paths map[string]map[string]struct{ Tags []string }
	}
	if err := json.Unmarshal([]byte(w.call("GET", "/openapi.json", "", nil).ok("document", 200).text), &document); err != nil {
		t.Fatal(err)
	}
	chapters := map[string]bool{}
	for _, tag := range document.Tags {
		chapters[tag.Name] = true
	}
	for path, operations := range document.Paths {
		for method, operation := range operations {
			if len(operation.Tags) != 1 || !chapters[operation.Tags[0]] {
				t.Errorf("%s %s is in %v, the chapters are %v", method, path, operation.Tags, document.Tags)
			}
		}
	}
}
