// Package docs holds the project's documents. Its only code keeps the tables of
// protocol.md equal to the code that they describe.
package docs

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

var update = flag.Bool("update", false, "rewrite the tables of protocol.md")

const document = "protocol.md"

// block is a table between its markers: what follows "begin:", and the table.
var block = regexp.MustCompile(`(?s)<!-- begin: ([^>]+) -->\n.*?<!-- end -->`)

func TestTheTablesShowTheCode(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	tables := allTables(t)
	shown := map[string]bool{}
	fresh := block.ReplaceAllStringFunc(string(text), func(old string) string {
		name := block.FindStringSubmatch(old)[1]
		table, ok := tables[name]
		if !ok || shown[name] {
			t.Errorf("%s: the block %q is unknown, or stands there twice", document, name)
			return old
		}
		shown[name] = true
		return fmt.Sprintf("<!-- begin: %s -->\n%s<!-- end -->", name, table)
	})
	for name := range tables {
		if !shown[name] {
			t.Errorf("%s: there is no block %q", document, name)
		}
	}
	if fresh == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s is not up to date: run go test ./docs -update\nfirst difference:\n%s", document, difference(string(text), fresh))
	}
	if err := os.WriteFile(document, []byte(fresh), 0o644); err != nil {
		t.Fatal(err)
	}
}

// difference shows the first line in which two texts differ.
func difference(have, want string) string {
	was, is := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range min(len(was), len(is)) {
		if was[i] != is[i] {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, was[i], is[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(was), len(is))
}

// allTables renders every table by the name of its block.
func allTables(t *testing.T) map[string]string {
	messages := imv1.File_im_v1_client_proto.Messages()
	tables := map[string]string{
		"operations":  operations(t, messages),
		"errors":      errorCodes(t),
		"disconnects": disconnectCodes(t),
	}
	for i := range messages.Len() {
		tables["message "+string(messages.Get(i).Name())] = fields(messages.Get(i))
	}
	return tables
}

// table renders rows of cells under a head.
func table(head string, rows [][]string) string {
	columns := strings.Count(head, "|") + 1
	lines := []string{"| " + head + " |", "|" + strings.Repeat("---|", columns)}
	for _, row := range rows {
		lines = append(lines, "| "+strings.Join(row, " | ")+" |")
	}
	return strings.Join(lines, "\n") + "\n"
}

// operations lists the operations with the names of their bodies' fields. The body
// of send_ack is the message SendAck, and so on.
func operations(t *testing.T, messages protoreflect.MessageDescriptors) string {
	senders := map[wire.Sender]string{wire.Client: "client", wire.Server: "server", wire.Both: "both"}
	rows := make([][]string, 0, len(wire.Operations))
	for _, op := range wire.Operations {
		name := camelCase(op.Name)
		body := messages.ByName(protoreflect.Name(name))
		if body == nil {
			t.Fatalf("operation %s has no message %s", op.Name, name)
		}
		rows = append(rows, []string{
			fmt.Sprint(int32(op.Op)), "`" + op.Name + "`", senders[op.From], link(name), "`{" + strings.Join(names(body), ", ") + "}`",
		})
	}
	return table("op | name | from | body | fields", rows)
}

func camelCase(name string) string {
	words := strings.Split(name, "_")
	for i, word := range words {
		words[i] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

func link(message string) string { return "[" + message + "](#" + strings.ToLower(message) + ")" }

// names lists a message's fields, marked ? where a scalar has presence.
func names(message protoreflect.MessageDescriptor) []string {
	list := make([]string, message.Fields().Len())
	for i := range list {
		field := message.Fields().Get(i)
		list[i] = string(field.Name())
		if field.HasOptionalKeyword() {
			list[i] += "?"
		}
	}
	return list
}

// fields describes a message field by field.
func fields(message protoreflect.MessageDescriptor) string {
	if message.Fields().Len() == 0 {
		return "No fields: `{}`.\n"
	}
	rows := make([][]string, message.Fields().Len())
	for i := range rows {
		field := message.Fields().Get(i)
		rows[i] = []string{"`" + string(field.Name()) + "`", fmt.Sprint(field.Number()), jsonType(field), presence(field)}
	}
	return table("field | number | JSON | left out", rows)
}

func jsonType(field protoreflect.FieldDescriptor) string {
	switch {
	case field.IsMap():
		return "object of " + valueType(field.MapValue()) + "s"
	case field.IsList():
		return "array of " + valueType(field)
	}
	return valueType(field)
}

func valueType(field protoreflect.FieldDescriptor) string {
	switch field.Kind() {
	case protoreflect.MessageKind:
		if field.Message().FullName() == "google.protobuf.Struct" {
			return "object"
		}
		return link(string(field.Message().Name()))
	case protoreflect.Int64Kind:
		return "string (int64)"
	case protoreflect.Int32Kind:
		return "number (int32)"
	case protoreflect.BytesKind:
		return "string (base64)"
	}
	return field.Kind().String() // string, bool
}

// presence says what a field means that is not there.
func presence(field protoreflect.FieldDescriptor) string {
	oneof := field.ContainingOneof()
	switch {
	case field.HasOptionalKeyword():
		return "`?` not the same as 0"
	case oneof != nil:
		return fmt.Sprintf("exactly one of the %d is there", oneof.Fields().Len())
	case field.IsMap(), field.IsList():
		return "empty"
	case field.Kind() == protoreflect.MessageKind:
		return "none"
	case field.Kind() == protoreflect.BoolKind:
		return "false"
	case field.Kind() == protoreflect.StringKind:
		return "empty"
	}
	return "0"
}
