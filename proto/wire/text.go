package wire

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// ErrText: the text is not a JSON object, or its seq is not an int32, so that
// there is no sequence to answer to but 0. The session goes on.
var ErrText = errors.New("text is no JSON object with op, seq and body")

// ParseText reads a text message. Op is 0 when the name is missing or not known;
// Body is empty when it is left out. Other fields are ignored. ErrText as
// described there.
func ParseText(data []byte) (Frame, error) {
	frame := Frame{Form: Text}
	if !utf8.Valid(data) || !json.Valid(data) {
		return frame, ErrText
	}
	i := skipSpace(data, 0)
	if data[i] != '{' {
		return frame, ErrText
	}
	for i = skipSpace(data, i+1); data[i] != '}'; {
		keyEnd := skipValue(data, i)
		value := skipSpace(data, skipSpace(data, keyEnd)+1) // beyond the colon
		valueEnd := skipValue(data, value)
		if !frame.set(unquote(data[i:keyEnd]), data[value:valueEnd]) {
			return Frame{Form: Text}, ErrText
		}
		i = skipSpace(data, valueEnd)
		if data[i] == ',' {
			i = skipSpace(data, i+1)
		}
	}
	return frame, nil
}

// set takes one field of the text's object; false when it is a bad seq.
func (f *Frame) set(key, value []byte) bool {
	switch string(key) {
	case "op":
		f.Op = 0
		if value[0] == '"' {
			f.Op = OpNamed(unquote(value))
		}
	case "seq":
		seq, ok := parseInt32(value)
		f.Seq = seq
		return ok
	case "body":
		f.Body = value
	}
	return true
}

// AppendText appends a text message around an encoded JSON body.
func AppendText(dst []byte, op Op, seq int32, body []byte) []byte {
	dst = appendTextHead(dst, op, seq)
	dst = append(dst, body...)
	return append(dst, '}')
}

func appendTextHead(dst []byte, op Op, seq int32) []byte {
	dst = append(dst, `{"op":"`...)
	dst = append(dst, op.String()...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendInt(dst, int64(seq), 10)
	return append(dst, `,"body":`...)
}

func skipSpace(data []byte, i int) int {
	for data[i] == ' ' || data[i] == '\t' || data[i] == '\r' || data[i] == '\n' {
		i++
	}
	return i
}

// skipValue returns where the value that begins at i ends; data is valid JSON
// and the value lies within an object.
func skipValue(data []byte, i int) int {
	switch data[i] {
	case '"':
		return skipString(data, i)
	case '{', '[':
		return skipNested(data, i)
	}
	for ; ; i++ {
		switch data[i] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return i
		}
	}
}

func skipString(data []byte, i int) int {
	for i++; data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipNested(data []byte, i int) int {
	for depth := 0; ; {
		switch data[i] {
		case '"':
			i = skipString(data, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 {
			return i
		}
	}
}

// unquote returns what a JSON string says.
func unquote(quoted []byte) []byte {
	for _, c := range quoted {
		if c == '\\' {
			var s string
			if json.Unmarshal(quoted, &s) != nil {
				return nil
			}
			return []byte(s)
		}
	}
	return quoted[1 : len(quoted)-1]
}

// parseInt32 reads a JSON number that is an int32, without a fraction or an
// exponent; null is 0, as a field left out.
func parseInt32(value []byte) (int32, bool) {
	if string(value) == "null" {
		return 0, true
	}
	negative := value[0] == '-'
	if negative {
		value = value[1:]
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' || n > 1<<31 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return int32(n), n == int64(int32(n))
}
