package wire

import (
	"encoding/binary"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Entries travel as bytes: a push is encoded once and each target's seq is put
// in front of it. Protobuf allows that because field 1 of Entry is its seq and
// fields may stand in any order; JSON because the seq goes behind the brace.
//
//	[1B 0x0a][varint length]([1B 0x08][varint seq][entry])   Proto, a field of Deliver
//	{"seq":"<seq>",<entry without its brace>                  JSON and Text

const (
	tagEntries = 0x0a // field 1, length-delimited: entries of Deliver and SyncReply
	tagB3      = 0x12 // field 2, length-delimited: b3 of Deliver
	tagSeq     = 0x08 // field 1, varint: seq of Entry
)

// EntryOverhead is more than a spliced entry adds to its bytes in any form.
const EntryOverhead = 40

// BeginDeliver begins a deliver frame; EndDeliver ends it. Between them stand
// AppendEntry and SpliceEntry, at least once.
func BeginDeliver(dst []byte, form Form) []byte {
	dst = appendHead(dst, form, OpDeliver, 0)
	if form == Proto {
		return dst
	}
	return append(dst, `{"entries":[`...)
}

// EndDeliver ends the deliver frame that begins at start. A b3 that is none is
// left out.
func EndDeliver(dst []byte, start int, form Form, b3 string) []byte {
	if !validB3(b3) {
		b3 = ""
	}
	switch {
	case form == Proto && b3 != "":
		dst = append(dst, tagB3)
		dst = binary.AppendUvarint(dst, uint64(len(b3)))
		dst = append(dst, b3...)
	case form == Proto:
	case b3 != "":
		dst = append(dst, `],"b3":"`...)
		dst = append(dst, b3...)
		dst = append(dst, `"}`...)
	default:
		dst = append(dst, `]}`...)
	}
	return appendTail(dst, start, form)
}

// AppendEntry appends an entry that holds its seq, encoded in the form.
func AppendEntry(dst []byte, form Form, entry []byte) []byte {
	if form == Proto {
		dst = append(dst, tagEntries)
		dst = binary.AppendUvarint(dst, uint64(len(entry)))
		return append(dst, entry...)
	}
	return append(appendComma(dst), entry...)
}

// SpliceEntry appends an entry encoded in the form without its seq, and puts seq
// in front.
func SpliceEntry(dst []byte, form Form, seq int64, entry []byte) []byte {
	if form == Proto {
		return spliceProto(dst, uint64(seq), entry) //nolint:gosec // protobuf's int64
	}
	dst = append(appendComma(dst), `{"seq":"`...)
	dst = strconv.AppendInt(dst, seq, 10)
	dst = append(dst, '"')
	if len(entry) > len("{}") {
		dst = append(dst, ',')
	}
	return append(dst, entry[1:]...)
}

func spliceProto(dst []byte, seq uint64, entry []byte) []byte {
	dst = append(dst, tagEntries)
	dst = binary.AppendUvarint(dst, uint64(1+uvarintBytes(seq)+len(entry))) //nolint:gosec // a length
	dst = append(dst, tagSeq)
	dst = binary.AppendUvarint(dst, seq)
	return append(dst, entry...)
}

func appendComma(dst []byte) []byte {
	if dst[len(dst)-1] == '[' {
		return dst
	}
	return append(dst, ',')
}

func uvarintBytes(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// validB3 reports whether s can be a B3 single header: at most 80 letters,
// digits and hyphens.
func validB3(s string) bool {
	return len(s) > 0 && len(s) <= 80 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-'
	})
}

// EntryJSON turns an encoded Entry into JSON, as JSON and Text carry it. An entry
// that JSON can not say (text that is not UTF-8, from a store of old) is shown
// without what it says, so that it never stops those behind it.
func EntryJSON(entry []byte) ([]byte, error) {
	var e imv1.Entry
	if err := e.UnmarshalVT(entry); err != nil {
		return nil, err
	}
	out, err := AppendBody(nil, JSON, &e)
	if err == nil {
		return out, nil
	}
	bare := &imv1.Entry{Seq: e.Seq, Kind: strings.ToValidUTF8(e.Kind, ""), AtMs: e.AtMs, HasRead: e.HasRead, Late: e.Late}
	if e.Message != nil {
		bare.Message = bareMessage(e.Message)
	}
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(bare)
}

// AppendSyncReply appends a sync_reply frame of at most limit bytes. entries are
// encoded in protobuf and hold their seq; those that do not fit are left for the
// next page. At least one always fits. tail is the rest of the reply.
func AppendSyncReply(dst []byte, form Form, seq int32, entries [][]byte, tail *imv1.SyncReply, limit int) ([]byte, error) {
	start := len(dst)
	dst = appendHead(dst, form, OpSyncReply, seq)
	if form != Proto {
		dst = append(dst, `{"entries":[`...)
	}
	for i, entry := range entries {
		encoded := entry
		if form != Proto {
			var err error
			if encoded, err = EntryJSON(entry); err != nil {
				return dst[:start], err
			}
		}
		if i > 0 && len(dst)-start+len(encoded)+EntryOverhead+tailBytes > limit {
			tail.HasMore = true
			break
		}
		dst = AppendEntry(dst, form, encoded)
	}
	return endSyncReply(dst, start, form, tail)
}

// tailBytes is more than a sync_reply takes beside its entries.
const tailBytes = 256

func endSyncReply(dst []byte, start int, form Form, tail *imv1.SyncReply) ([]byte, error) {
	body, err := AppendBody(nil, form, tail)
	if err != nil {
		return dst[:start], err
	}
	switch {
	case form == Proto:
		dst = append(dst, body...)
	case len(body) > len("{}"):
		dst = append(append(dst, `],`...), body[1:]...)
	default:
		dst = append(dst, `]}`...)
	}
	return appendTail(dst, start, form), nil
}
