package workload

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/im-transfer/im/check"
)

// A message's text begins with a tag that says which message of which run it is, so
// that who gets it can tell without trusting the server:
//
//	im-check RUN DEVICE NUMBER ......
//
// RUN is hexadecimal, the others decimal; what follows fills the text up to its size.
const tagWord = "im-check"

// smallestText is the least size of a text, which holds every tag.
const smallestText = 48

// filler has what encodings trip over: quotes, escapes, and characters of one to
// four bytes.
const filler = `The quick "brown" fox\jumps <over> the & lazy dog; déjà vu, 即时消息, 🙂/ok. `

// textOf makes the text of a message: always the same for the same message.
func textOf(run string, key check.Key, size int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %d %d ", tagWord, run, key.Device, key.Number)
	for b.Len()+len(filler) <= size {
		b.WriteString(filler)
	}
	for b.Len() < size {
		b.WriteByte('.')
	}
	return b.String()
}

// keyOf reads the tag of a text; the zero Key for one that is not of this run.
func keyOf(run, text string) check.Key {
	parts := strings.SplitN(text, " ", 5)
	if len(parts) < 5 || parts[0] != tagWord || parts[1] != run {
		return check.Key{}
	}
	device, err1 := strconv.ParseUint(parts[2], 10, 32)
	number, err2 := strconv.ParseUint(parts[3], 10, 32)
	if err1 != nil || err2 != nil {
		return check.Key{}
	}
	return check.Key{Device: uint32(device), Number: uint32(number)}
}

// clientID makes a message's client_msg_id. Devices with an even number give UUIDs,
// which a server may keep in 16 bytes; the others do not.
func clientID(run string, key check.Key) string {
	if key.Device%2 == 0 {
		return fmt.Sprintf("%s-0000-7000-8000-%012x", run, key.Number)
	}
	return fmt.Sprintf("%s/%d", run, key.Number)
}
