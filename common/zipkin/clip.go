package zipkin

import (
	"maps"
	"strings"
)

// maxText bounds a tag's value and a span's name, in bytes: what clients write, such
// as the path of a request, comes here too. The longest that we write ourselves,
// the inbox seqs of an envelope, are within it.
const maxText = 512

// clip cuts what is too long. The span's tags may be another span's too and are read
// meanwhile, so they are copied before.
func (r *report) clip() {
	r.span.Name = clipped(r.span.Name)
	copied := false
	for name, value := range r.span.Tags {
		if len(value) <= maxText {
			continue
		}
		if !copied {
			r.span.Tags, copied = maps.Clone(r.span.Tags), true
		}
		r.span.Tags[name] = clipped(value)
	}
}

// clipped returns what fits of a text, and an ellipsis where it did not.
func clipped(text string) string {
	const ellipsis = "…"
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText-len(ellipsis)], "") + ellipsis
}

// size is about how many bytes of memory a report takes. Its places, times and the
// headers of its map and strings are spanBytes and tagBytes.
func (r *report) size() int {
	const spanBytes, tagBytes = 400, 48
	n := spanBytes + len(r.span.Name)
	for name, value := range r.span.Tags {
		n += tagBytes + len(name) + len(value)
	}
	return n
}
