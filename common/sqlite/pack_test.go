package sqlite

import (
	"math"
	"reflect"
	"strconv"
	"testing"

	"github.com/im-transfer/im"
)

func FuzzPackID(f *testing.F) {
	for _, id := range []string{"", "d1", "019b0000-0000-7000-8000-0000000000ab", "019B0000-0000-7000-8000-0000000000AB", "019b0000-0000-7000-8000-0000000000a-", "-0000-00-0000-0000-0000-000000000000"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if got := unpackID(row{packID(id)}, 0); got != id {
			t.Errorf("%q came back as %q", id, got)
		}
	})
}

func TestUUIDIsPacked(t *testing.T) {
	if _, packed := packID("019b0000-0000-7000-8000-0000000000ab").([]byte); !packed {
		t.Error("a UUID is stored as text")
	}
	if _, packed := packID("019B0000-0000-7000-8000-0000000000AB").([]byte); packed {
		t.Error("an upper-case UUID would come back in lower case")
	}
}

func TestKindsHaveNumbers(t *testing.T) {
	for i, kind := range kinds {
		if i == 0 {
			continue
		}
		number, err := kindNumber(kind)
		if err != nil || int(number) != i || kindOf(int64(i)) != kind {
			t.Errorf("%q is %d, %v", kind, number, err)
		}
	}
	if kindOf(-1) != "" || kindOf(99) != "" {
		t.Error("an unknown number has a kind")
	}
}

// Any bytes are a block or an error, and what is a block survives.
func FuzzEntries(f *testing.F) {
	id := func(key int64) (string, error) { return strconv.FormatInt(key, 10), nil }
	key := func(id string) (int64, error) { return strconv.ParseInt(id, 10, 64) }
	seed, err := appendEntries(nil, []im.InboxEntry{
		{EventID: im.EventIDOf(7), Kind: im.KindMessage, MessageID: 7, ConversationID: "3", ConversationSeq: 9},
		{EventID: im.DerivedEventID("x"), Kind: im.KindReceipt, ConversationID: "0", Data: []byte("data")},
		{EventID: im.EventIDOf(math.MaxInt64), Kind: im.KindEdit, MessageID: math.MaxInt64, ConversationID: "1", ConversationSeq: math.MaxInt64},
	}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, int64(3))
	f.Add(seed[:len(seed)-1], int64(3))
	f.Add([]byte{}, int64(1))
	f.Fuzz(func(t *testing.T, block []byte, n int64) {
		entries, err := readEntries(block, n, id)
		if err != nil {
			return
		}
		again, err := appendEntries(nil, entries, key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readEntries(again, n, id)
		if err != nil || !reflect.DeepEqual(got, entries) {
			t.Errorf("%+v came back as %+v, %v", entries, got, err)
		}
	})
}

func TestKeyCacheIsBounded(t *testing.T) {
	k := newKeyspace("user_keys")
	for key := int64(1); key <= 3*maxCachedKeys; key++ {
		k.put(strconv.FormatInt(key, 10), key)
		if k.cachedKey("1") != 1 { // used all the time, never forgotten
			t.Fatalf("forgotten after %d", key)
		}
	}
	if n := len(k.young.keys) + len(k.old.keys); n > 2*maxCachedKeys {
		t.Errorf("%d keys are cached", n)
	}
	if k.cachedKey("2") != 0 || k.cachedID(2) != "" || k.cachedID(3*maxCachedKeys) == "" {
		t.Error("the unused is kept, or the newest forgotten")
	}
}
