package im

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// ValidPlatform reports whether a device may name this platform.
func ValidPlatform(platform string) bool { return slices.Contains(platforms[:], platform) }

// ContentTypes are the values of a Content's type.
var ContentTypes = []string{"text", "image", "audio", "video", "file", "link", "markdown", "card", "custom"}

// ValidID reports whether s can be an opaque id: 1 to 64 bytes of UTF-8 without
// control characters.
func ValidID(s string) bool { return len(s) >= 1 && len(s) <= MaxIDBytes && printable(s) }

// ValidClientID reports whether s can be a client_msg_id.
func ValidClientID(s string) bool {
	return len(s) >= 1 && len(s) <= MaxClientIDBytes && printable(s)
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// NormalUsername lowers a user name and reports whether it is one: 1 to 64 of
// a-z 0-9 . _ - after lowering.
func NormalUsername(name string) (string, bool) {
	if len(name) < 1 || len(name) > 64 {
		return "", false
	}
	lowered := []byte(name) // ASCII alone: Unicode lowers the Kelvin sign to a k
	for i, c := range lowered {
		switch {
		case c >= 'A' && c <= 'Z':
			lowered[i] = c - 'A' + 'a'
		case (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-':
			return "", false
		}
	}
	return string(lowered), true
}

// ValidPassword reports whether s can be a password: 8 to 128 bytes.
func ValidPassword(s string) bool { return len(s) >= 8 && len(s) <= 128 }

// PageLimit turns a client's limit into one in force: 0 is DefaultPage, more than
// MaxPage is MaxPage; false when it is negative.
func PageLimit(limit int) (int, bool) {
	switch {
	case limit < 0:
		return 0, false
	case limit == 0:
		return DefaultPage, true
	}
	return min(limit, MaxPage), true
}
