package http

import (
	"fmt"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/im-transfer/im"
)

const schemaPrefix = "#/components/schemas/"

// schemaOf puts the JSON schema of a message, and of those within it, among the
// document's components and returns a reference to it.
func schemaOf(r huma.Registry, message protoreflect.MessageDescriptor) *huma.Schema {
	if message.FullName() == "google.protobuf.Struct" {
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "Any JSON object."}
	}
	name := string(message.Name())
	if taken := r.TypeFromRef(schemaPrefix + name); taken != nil {
		panic(fmt.Sprintf("schema %s is both %s and %s", name, message.FullName(), taken))
	}
	if _, made := r.Map()[name]; !made {
		schema := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Properties: map[string]*huma.Schema{}}
		r.Map()[name] = schema // before its fields: messages may be recursive
		for i := range message.Fields().Len() {
			field := message.Fields().Get(i)
			schema.Properties[string(field.Name())] = fieldSchema(r, field)
		}
		if message.Oneofs().Len() > 0 && !message.Oneofs().Get(0).IsSynthetic() {
			schema.Description = "Exactly one of the fields."
		}
		schema.PrecomputeMessages()
	}
	return &huma.Schema{Ref: schemaPrefix + name}
}

func fieldSchema(r huma.Registry, field protoreflect.FieldDescriptor) *huma.Schema {
	switch {
	case field.IsMap():
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: valueSchema(r, field.MapValue())}
	case field.IsList():
		return &huma.Schema{Type: huma.TypeArray, Items: valueSchema(r, field)}
	}
	return valueSchema(r, field)
}

func valueSchema(r huma.Registry, field protoreflect.FieldDescriptor) *huma.Schema {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return schemaOf(r, field.Message())
	case protoreflect.BoolKind:
		return &huma.Schema{Type: huma.TypeBoolean}
	case protoreflect.Int32Kind, protoreflect.Uint32Kind:
		return &huma.Schema{Type: huma.TypeInteger, Format: "int32"}
	case protoreflect.Int64Kind, protoreflect.Uint64Kind:
		return int64Schema()
	case protoreflect.BytesKind:
		return &huma.Schema{Type: huma.TypeString, ContentEncoding: "base64"}
	}
	return &huma.Schema{Type: huma.TypeString, Enum: valuesOf(field)}
}

// valuesOf lists the values of what looks like an enum.
func valuesOf(field protoreflect.FieldDescriptor) []any {
	var values []string
	switch field.FullName() {
	case "im.v1.Content.type":
		values = im.ContentTypes
	case "im.v1.Message.conversation_type":
		values = []string{string(im.Direct), string(im.Group), string(im.Room)}
	case "im.v1.Entry.kind":
		for _, kind := range []im.Kind{im.KindMessage, im.KindReceipt, im.KindRecall, im.KindEdit, im.KindReaction,
			im.KindMembership, im.KindDeleted, im.KindConversation, im.KindContact, im.KindProfile} {
			values = append(values, string(kind))
		}
	case "im.v1.Receipt.kind":
		values = []string{"read", "delivered"}
	}
	list := make([]any, len(values))
	for i, value := range values {
		list[i] = value
	}
	if len(list) == 0 {
		return nil
	}
	return list
}
