package wire

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// maxNesting bounds how deep the value of a data field nests: other protobuf and
// JSON readers give up at about a hundred messages.
const maxNesting = 100

// Body is a body that can be sent: a message of package imv1.
type Body interface {
	proto.Message
	SizeVT() int
	MarshalToSizedBufferVT(dst []byte) (int, error)
}

// Unmarshal reads a body, ignoring fields that it does not know. An empty body
// and JSON null are the zero message. It refuses what could not be sent on in
// every form: text that is not UTF-8; data with numbers that are not finite or
// nested deeper than 100.
func Unmarshal(form Form, body []byte, m proto.Message) error {
	if err := unmarshal(form, body, m); err != nil {
		return fmt.Errorf("decode body: %w", err)
	}
	if data := dataOf(m); data != nil && !validStruct(data, maxNesting) {
		return fmt.Errorf("decode body: data can not be said in JSON")
	}
	return nil
}

func unmarshal(form Form, body []byte, m proto.Message) error {
	if form == Proto {
		return proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, m)
	}
	if len(body) == 0 || string(body) == "null" {
		return nil
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, m)
}

// dataOf returns the free-form part of a body that a client sends.
func dataOf(m proto.Message) *structpb.Struct {
	switch m := m.(type) {
	case *imv1.Send:
		return m.GetContent().GetData()
	case *imv1.Signal:
		return m.GetData()
	}
	return nil
}

func validStruct(s *structpb.Struct, depth int) bool {
	for _, value := range s.GetFields() {
		if !validValue(value, depth-1) {
			return false
		}
	}
	return true
}

func validValue(v *structpb.Value, depth int) bool {
	if depth < 0 {
		return false
	}
	switch kind := v.GetKind().(type) {
	case nil:
		return false
	case *structpb.Value_NumberValue:
		return !math.IsNaN(kind.NumberValue) && !math.IsInf(kind.NumberValue, 0)
	case *structpb.Value_StructValue:
		return validStruct(kind.StructValue, depth)
	case *structpb.Value_ListValue:
		for _, item := range kind.ListValue.GetValues() {
			if !validValue(item, depth-1) {
				return false
			}
		}
	}
	return true
}

// AppendFrame appends a whole frame (text: message) around a body that is
// already encoded in the form.
func AppendFrame(dst []byte, form Form, op Op, seq int32, body []byte) []byte {
	if form == Text {
		return AppendText(dst, op, seq, body)
	}
	dst = AppendHeader(dst, form, op, seq, len(body))
	return append(dst, body...)
}

// AppendMessage appends a whole frame (text: message) with a body. On an error,
// which only a body that JSON can not say causes, dst is returned as it was.
func AppendMessage(dst []byte, form Form, op Op, seq int32, m Body) ([]byte, error) {
	start := len(dst)
	dst, err := AppendBody(appendHead(dst, form, op, seq), form, m)
	if err != nil {
		return dst[:start], err
	}
	return appendTail(dst, start, form), nil
}

// AppendBody appends a body alone.
func AppendBody(dst []byte, form Form, m Body) ([]byte, error) {
	if form == Proto {
		return appendProto(dst, m)
	}
	out, err := protojson.MarshalOptions{UseProtoNames: true}.MarshalAppend(dst, m)
	if err != nil {
		return dst, fmt.Errorf("encode body: %w", err)
	}
	return out, nil
}

func appendProto(dst []byte, m Body) ([]byte, error) {
	size := m.SizeVT()
	dst = grow(dst, size)
	if _, err := m.MarshalToSizedBufferVT(dst[len(dst)-size:]); err != nil {
		return dst[:len(dst)-size], fmt.Errorf("encode body: %w", err)
	}
	return dst, nil
}

// grow lengthens dst by n bytes of any content.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst[:len(dst)+n]
	}
	return append(dst, make([]byte, n)...)
}

// appendHead begins a frame whose length is not known yet; appendTail ends it.
func appendHead(dst []byte, form Form, op Op, seq int32) []byte {
	if form == Text {
		return appendTextHead(dst, op, seq)
	}
	return AppendHeader(dst, form, op, seq, 0)
}

func appendTail(dst []byte, start int, form Form) []byte {
	if form == Text {
		return append(dst, '}')
	}
	patchLength(dst, start)
	return dst
}
