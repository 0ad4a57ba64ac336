package bench

import (
	"bytes"
	"strings"
	"time"

	"github.com/im-transfer/im/check"
)

// A message's text begins with a tag that says which message of which run it is
// and when it was meant to be sent, so that who gets it needs to ask nobody:
//
//	im-bench RRRRRRRR DDDDDD NNNNNNNN TTTTTTTTTTTTTTTT ......
//	         run      device number   nanoseconds      padding to the size
//
// All fields are lower-case hexadecimal of fixed width and are patched in place.
const (
	tagIntro    = "im-bench "
	tagRun      = len(tagIntro)
	tagDevice   = tagRun + 8 + 1
	tagNumber   = tagDevice + 6 + 1
	tagTime     = tagNumber + 8 + 1
	tagBytes    = tagTime + 16 + 1
	minSize     = 64
	maxDevices  = 1<<24 - 1
	hexadecimal = "0123456789abcdef"
)

// runID tells the messages of runs apart: 32 bits.
type runID uint32

// newText returns the text of a device's messages with number and time blank.
func newText(run runID, device uint32, size int) string {
	text := []byte(tagIntro + strings.Repeat("0", 8) + " 000000 00000000 0000000000000000 ")
	putHex(text[tagRun:tagRun+8], uint64(run))
	putHex(text[tagDevice:tagDevice+6], uint64(device))
	return string(append(text, bytes.Repeat([]byte{'.'}, size-len(text))...))
}

// tag is what a text says of itself.
type tag struct {
	run  runID
	key  check.Key
	sent time.Duration // since the start of the run
}

// parseTag reads the tag of a text; false when it has none.
func parseTag(text []byte) (tag, bool) {
	if len(text) < tagBytes || string(text[:tagRun]) != tagIntro {
		return tag{}, false
	}
	run, ok1 := getHex(text[tagRun : tagRun+8])
	device, ok2 := getHex(text[tagDevice : tagDevice+6])
	number, ok3 := getHex(text[tagNumber : tagNumber+8])
	sent, ok4 := getHex(text[tagTime : tagTime+16])
	return tag{
		run:  runID(run),
		key:  check.Key{Device: uint32(device), Number: uint32(number)},
		sent: time.Duration(sent),
	}, ok1 && ok2 && ok3 && ok4
}

// A client_msg_id is a UUID (version 7 in form), because servers may store those
// in 16 bytes: RRRRRRRR-0000-7DDD-8DDD-0000NNNNNNNN.
const clientIDBytes = 36

func newClientID(run runID, device uint32) []byte {
	id := []byte("00000000-0000-7000-8000-000000000000")
	putHex(id[:8], uint64(run))
	putHex(id[15:18], uint64(device>>12))
	putHex(id[20:23], uint64(device&0xfff))
	return id
}

// clientIDNumber is the place of the number in a client_msg_id.
const clientIDNumber = clientIDBytes - 8

// numberOf returns the number in a client_msg_id; 0 for one that is not one.
func numberOf(clientID []byte) uint32 {
	if len(clientID) != clientIDBytes {
		return 0
	}
	number, _ := getHex(clientID[clientIDNumber:])
	return uint32(number)
}

// putHex writes the lowest digits of v over all of dst.
func putHex(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = hexadecimal[v&15]
		v >>= 4
	}
}

func getHex(digits []byte) (uint64, bool) {
	var v uint64
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
