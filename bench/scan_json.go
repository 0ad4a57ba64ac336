package bench

import (
	"bytes"
	"encoding/json"
	"math"

	"github.com/im-transfer/im/proto/wire"
)

// jsonScanner reads the JSON forms.
type jsonScanner struct{}

// jsonObject walks the fields of an object. It trusts that the JSON is well made
// as far as it can without reading beyond its end.
type jsonObject struct {
	data []byte
	i    int
	bad  bool
}

func openObject(data []byte) jsonObject {
	o := jsonObject{data: data}
	o.expect('{')
	return o
}

func (o *jsonObject) space() {
	for o.i < len(o.data) && (o.data[o.i] == ' ' || o.data[o.i] == '\n' || o.data[o.i] == '\t' || o.data[o.i] == '\r') {
		o.i++
	}
}

// at returns the next byte that is no space, 0 at the end.
func (o *jsonObject) at() byte {
	o.space()
	if o.i >= len(o.data) {
		return 0
	}
	return o.data[o.i]
}

func (o *jsonObject) expect(c byte) {
	if o.at() != c {
		o.bad = true
		return
	}
	o.i++
}

// next returns the next field, its value still encoded; false at the end.
func (o *jsonObject) next() (key, value []byte, ok bool) {
	if o.bad || o.at() == '}' {
		return nil, nil, false
	}
	if o.at() == ',' {
		o.i++
	}
	key = o.value()
	o.expect(':')
	value = o.value()
	if o.bad || len(key) < 2 || key[0] != '"' {
		o.bad = true
		return nil, nil, false
	}
	return key[1 : len(key)-1], value, true
}

// item returns the next element of an array.
func (o *jsonObject) item() ([]byte, bool) {
	if o.bad || o.at() == ']' {
		return nil, false
	}
	if o.at() == ',' {
		o.i++
	}
	value := o.value()
	return value, !o.bad
}

// value takes one value of any kind.
func (o *jsonObject) value() []byte {
	if o.at() == 0 {
		o.bad = true
		return nil
	}
	start, depth := o.i, 0
	for o.i < len(o.data) {
		switch o.data[o.i] {
		case '"':
			o.skipString()
			if depth == 0 {
				return o.data[start:min(o.i, len(o.data))]
			}
			continue
		case '{', '[':
			depth++
		case '}', ']', ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				o.bad = o.bad || o.i == start
				return o.data[start:o.i]
			}
			if c := o.data[o.i]; c == '}' || c == ']' {
				if depth--; depth == 0 {
					o.i++
					return o.data[start:o.i]
				}
			}
		}
		o.i++
	}
	o.bad = o.bad || depth > 0 || start == o.i
	return o.data[start:]
}

func (o *jsonObject) skipString() {
	o.i++
	for o.i < len(o.data) {
		quote := bytes.IndexByte(o.data[o.i:], '"')
		if quote < 0 {
			break
		}
		o.i += quote + 1
		backslashes := 0
		for o.data[o.i-2-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return
		}
	}
	o.i, o.bad = len(o.data), true
}

// scanText reads a text message as wire.ParseText does, but trusts the server to
// have made it well.
func scanText(data []byte) (wire.Frame, error) {
	frame := wire.Frame{Form: wire.Text}
	err := eachField(data, func(key, value []byte) bool {
		switch string(key) {
		case "op":
			frame.Op = wire.OpNamed(jsonString(value))
		case "seq":
			frame.Seq = int32(jsonInt(value))
		case "body":
			frame.Body = value
		}
		return true
	})
	return frame, err
}

func (jsonScanner) deliver(body []byte, do func(*entry)) error {
	return eachField(body, func(key, value []byte) bool {
		if string(key) != "entries" {
			return true
		}
		return eachItem(value, func(item []byte) bool {
			var e entry
			if e.scanJSON(item) != nil {
				return false
			}
			do(&e)
			return true
		})
	})
}

// eachField calls do with the fields of an object until it returns false.
func eachField(data []byte, do func(key, value []byte) bool) error {
	o := openObject(data)
	for key, value, ok := o.next(); ok; key, value, ok = o.next() {
		if !do(key, value) {
			return errBody
		}
	}
	if o.bad {
		return errBody
	}
	return nil
}

func (e *entry) scanJSON(data []byte) error {
	return eachField(data, func(key, value []byte) bool {
		switch string(key) {
		case "seq":
			e.seq = jsonInt(value)
		case "kind":
			e.kind = jsonString(value)
		case "message":
			return eachField(value, e.setMessage) == nil
		case "receipt":
			return eachField(value, e.setReceipt) == nil
		}
		return true
	})
}

func (e *entry) setMessage(key, value []byte) bool {
	switch string(key) {
	case "message_id":
		e.messageID = jsonInt(value)
	case "conversation_id":
		e.conversation = jsonString(value)
	case "conversation_seq":
		e.conversationSeq = jsonInt(value)
	case "sender_id":
		e.sender = jsonString(value)
	case "edited_at_ms":
		e.edited = e.edited || jsonInt(value) != 0
	case "recalled", "deleted":
		e.edited = e.edited || string(value) == "true"
	case "content":
		return eachField(value, func(key, value []byte) bool {
			if string(key) == "text" {
				e.text = jsonString(value)
			}
			return true
		}) == nil
	}
	return true
}

func (e *entry) setReceipt(key, value []byte) bool {
	switch string(key) {
	case "conversation_id":
		e.conversation = jsonString(value)
	case "user_id":
		e.sender = jsonString(value)
	case "kind":
		e.receiptKind = jsonString(value)
	case "upto":
		e.upto = jsonInt(value)
	}
	return true
}

func (jsonScanner) sendAck(body []byte, a *answer) error {
	return eachField(body, func(key, value []byte) bool {
		switch string(key) {
		case "client_msg_id":
			a.clientID = jsonString(value)
		case "message_id":
			a.messageID = jsonInt(value)
		case "conversation_id":
			a.conversation = jsonString(value)
		case "conversation_seq":
			a.conversationSeq = jsonInt(value)
		case "duplicate":
			a.duplicate = string(value) == "true"
		}
		return true
	})
}

func (jsonScanner) room(_ wire.Op, body []byte, p *roomPart, do func(*entry)) error {
	return eachField(body, func(key, value []byte) bool {
		switch string(key) {
		case "after":
			p.after = jsonInt(value)
		case "upto":
			p.upto = jsonInt(value)
		case "head":
			p.head = jsonInt(value)
		case "skipped":
			p.skipped = int(jsonInt(value))
		case "has_more":
			p.hasMore = string(value) == "true"
		case "events":
			return eachItem(value, func([]byte) bool { p.events++; return true })
		case "messages":
			return eachItem(value, func(item []byte) bool {
				var e entry
				if eachField(item, e.setMessage) != nil {
					return false
				}
				do(&e)
				return true
			})
		}
		return true
	})
}

// eachItem calls do with the elements of an array until it returns false, and then does
// so itself; also where the array is malformed.
func eachItem(data []byte, do func([]byte) bool) bool {
	list := jsonObject{data: data}
	list.expect('[')
	for item, ok := list.item(); ok; item, ok = list.item() {
		if !do(item) {
			return false
		}
	}
	return !list.bad
}

// jsonInt reads an int64, which may be a string or a number; -1 for anything
// else, which the judge does not take for a sequence number.
func jsonInt(value []byte) int64 {
	value = bytes.Trim(value, `"`)
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

func jsonString(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1]
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return nil
	}
	return []byte(s)
}
