package sqlite

import "encoding/hex"

// packID returns what is stored for an opaque id: 16 bytes as a blob for a UUID
// in its canonical form (lower case, hyphens), anything else as text. SQLite
// never takes a blob for a text, so the two can not collide.
func packID(id string) any {
	if uuid, ok := parseUUID(id); ok {
		return uuid
	}
	return id
}

func parseUUID(id string) ([]byte, bool) {
	if len(id) != 36 {
		return nil, false
	}
	uuid := make([]byte, 0, 16)
	for i := 0; i < len(id); i += 2 {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if id[i] != '-' {
				return nil, false
			}
			i++
		}
		high, low := nibble(id[i]), nibble(id[i+1])
		if high > 15 || low > 15 {
			return nil, false
		}
		uuid = append(uuid, high<<4|low)
	}
	return uuid, true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// unpackID gives back what packID was given.
func unpackID(r row, i int) string {
	uuid := r.blob(i)
	if len(uuid) != 16 {
		return r.text(i)
	}
	var text [36]byte
	hex.Encode(text[0:8], uuid[0:4])
	hex.Encode(text[9:13], uuid[4:6])
	hex.Encode(text[14:18], uuid[6:8])
	hex.Encode(text[19:23], uuid[8:10])
	hex.Encode(text[24:36], uuid[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
