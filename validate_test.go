package im_test

import (
	"strings"
	"testing"

	"github.com/im-transfer/im"
)

func TestIDs(t *testing.T) {
	for s, want := range map[string]bool{
		"":                        false,
		"a":                       true,
		"Zoë 你好 :/@":              true,
		strings.Repeat("a", 64):   true,
		strings.Repeat("a", 65):   false,
		strings.Repeat("é", 33):   false, // bytes count, not letters
		"a\nb":                    false,
		"a\x00b":                  false,
		"a\x7fb":                  false,
		"a\xffb":                  false,
		"0198c2f0-0000-7000-8000": true,
	} {
		if got := im.ValidID(s); got != want {
			t.Errorf("ValidID(%q) is %v", s, got)
		}
		if got := im.ValidClientID(s); got != want {
			t.Errorf("ValidClientID(%q) is %v", s, got)
		}
	}
}

func TestUsernames(t *testing.T) {
	for name, want := range map[string]string{
		"alice":                 "alice",
		"Alice.B_c-9":           "alice.b_c-9",
		strings.Repeat("A", 64): strings.Repeat("a", 64),
		"":                      "",
		strings.Repeat("a", 65): "",
		"a b":                   "",
		"zoë":                   "",
		"a@b":                   "",
	} {
		if got, ok := im.NormalUsername(name); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %q, %v", name, got, ok)
		}
	}
}

func TestPasswords(t *testing.T) {
	for length, want := range map[int]bool{0: false, 7: false, 8: true, 128: true, 129: false} {
		if got := im.ValidPassword(strings.Repeat("p", length)); got != want {
			t.Errorf("%d bytes: %v", length, got)
		}
	}
}

func TestPlatforms(t *testing.T) {
	for platform, want := range map[string]bool{
		"web": true, "desktop": true, "ios": true, "android": true, "tablet": true, "other": true,
		"": false, "Web": false, "watch": false,
	} {
		if got := im.ValidPlatform(platform); got != want {
			t.Errorf("%q: %v", platform, got)
		}
	}
}

func TestPageLimits(t *testing.T) {
	for _, c := range []struct {
		asked, want int
		ok          bool
	}{{-1, 0, false}, {0, 50, true}, {1, 1, true}, {200, 200, true}, {201, 200, true}} {
		if got, ok := im.PageLimit(c.asked); got != c.want || ok != c.ok {
			t.Errorf("%d gives %d, %v", c.asked, got, ok)
		}
	}
}
