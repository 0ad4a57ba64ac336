package http

import (
	"errors"
	"strconv"
	"strings"

	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// request is an operation's input of a body alone.
type request[T any] struct{ Body T }

// answer is an operation's output.
type answer[T any] struct{ Body T }

// nothing is the input or output that is empty.
type nothing struct{}

func reply[T any](body T) *answer[T] { return &answer[T]{body} }

// protoBody is a body, or a part of one, that is a message of the client
// protocol: its JSON is the protobuf mapping with the proto's field names.
type protoBody[T any, M interface {
	*T
	proto.Message
}] struct{ message M }

// bodyOf wraps a message.
func bodyOf[T any, M interface {
	*T
	proto.Message
}](message M) protoBody[T, M] {
	return protoBody[T, M]{message}
}

// MarshalJSON writes the protobuf JSON mapping; zero fields are left out.
func (b protoBody[T, M]) MarshalJSON() ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(b.message)
}

// UnmarshalJSON reads the protobuf JSON mapping; unknown fields are skipped.
func (b *protoBody[T, M]) UnmarshalJSON(data []byte) error {
	b.message = new(T)
	return plain(protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, b.message))
}

// Schema is made from the message's descriptor.
func (b protoBody[T, M]) Schema(r huma.Registry) *huma.Schema {
	return schemaOf(r, M(nil).ProtoReflect().Descriptor())
}

// plain takes the library's name, and its deliberately unstable space, out of an
// error.
func plain(err error) error {
	if err == nil {
		return nil
	}
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return errors.New(strings.TrimSpace(strings.TrimPrefix(text, "proto:")))
}

// int64Text is an int64 whose JSON is a string, and which is read from a string or
// a number as protobuf does.
type int64Text int64

// MarshalJSON writes a string.
func (n int64Text) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatInt(int64(n), 10)), nil
}

// maxQuotedBytes bounds what an error repeats of a value.
const maxQuotedBytes = 32

// UnmarshalJSON reads a string or a number; null is 0.
func (n *int64Text) UnmarshalJSON(data []byte) error {
	var value wrapperspb.Int64Value
	if string(data) != "null" && protojson.Unmarshal(data, &value) != nil {
		said := string(data)
		if len(said) > maxQuotedBytes {
			said = strings.ToValidUTF8(said[:maxQuotedBytes], "") + "…"
		}
		return errors.New("not a 64-bit integer: " + said)
	}
	*n = int64Text(value.GetValue())
	return nil
}

// Schema says so.
func (n int64Text) Schema(huma.Registry) *huma.Schema { return int64Schema() }

func int64Schema() *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeString, Pattern: `^-?[0-9]+$`}, {Type: huma.TypeInteger, Format: "int64"},
	}, Description: "A 64-bit integer: written as a string, read as a string or a number."}
}

// optional is a query parameter for which left out and 0 are different.
type optional struct {
	value int64
	given bool
}

// Schema is an integer's.
func (o optional) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64"}
}

// Receiver is where huma puts the value.
func (o *optional) Receiver() reflect.Value { return reflect.ValueOf(&o.value).Elem() }

// OnParamSet notes that there was one.
func (o *optional) OnParamSet(given bool, _ any) { o.given = given }
