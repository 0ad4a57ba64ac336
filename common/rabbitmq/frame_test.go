package rabbitmq

import (
	"bytes"
	"testing"

	"github.com/im-transfer/im"
)

func TestItemsComeOutAsTheyWentIn(t *testing.T) {
	items := []im.Pack{
		{Body: []byte("first")},
		{},
		{Body: bytes.Repeat([]byte("x"), 300), Ref: im.PackRef{Commit: 1 << 62, Partition: 1023}},
	}
	message := []byte{format}
	for i := range items {
		message = appendItem(message, &items[i])
	}
	got, err := unpack(message)
	if err != nil || len(got) != len(items) {
		t.Fatalf("%d items, %v", len(got), err)
	}
	for i := range items {
		if !bytes.Equal(got[i].Body, items[i].Body) || got[i].Ref != items[i].Ref {
			t.Fatalf("item %d is %+v", i, got[i])
		}
	}
	for cut := range message {
		if short, err := unpack(message[:cut]); err == nil && len(short) >= len(items) {
			t.Fatalf("%d items in %d of %d bytes", len(short), cut, len(message))
		}
	}
}

func FuzzUnpack(f *testing.F) {
	one := appendItem([]byte{format}, &im.Pack{Body: []byte("body"), Ref: im.PackRef{Commit: 7, Partition: 3}})
	f.Add(one)
	f.Add(appendItem(one, &im.Pack{}))
	f.Add([]byte{format, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0})
	f.Fuzz(func(t *testing.T, message []byte) {
		items, err := unpack(message)
		if err != nil {
			return
		}
		again := []byte{format}
		for _, item := range items {
			again = appendItem(again, &im.Pack{Body: item.Body, Ref: item.Ref})
		}
		if got, err := unpack(again); err != nil || len(got) != len(items) {
			t.Fatalf("%d items became %d, %v", len(items), len(got), err)
		}
	})
}

func TestMajor(t *testing.T) {
	for version, want := range map[string]int{"3.10.8": 3, "4.0.0-rc.1": 4, "10.2": 10, "": 0, "x": 0} {
		if got := major(version); got != want {
			t.Errorf("%q is %d, want %d", version, got, want)
		}
	}
}
