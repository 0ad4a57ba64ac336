package storetest

import (
	"fmt"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

var quarantineTests = []testCase{
	{"keeps an item as it is, once", quarantineOnce},
	{"lists the oldest first, page by page", quarantineList},
	{"forgets what is released, once", quarantineRelease},
	{"a race to release has one winner", quarantineRace},
	{"releases and keeps packs at once", quarantinePacks},
	{"an unknown outcome is tried again", quarantineUnknown},
}

func quarantined(n int64, atMs int64) im.Quarantined {
	return im.Quarantined{Topic: "inbox", Partition: 3, Reason: "no envelope", Body: fmt.Append(nil, "item ", n), AtMs: atMs}
}

func inQuarantine(t *testing.T, s transfer.Store, limit int) (all []im.Quarantined) {
	t.Helper()
	var last im.Quarantined
	for afterID := int64(0); ; afterID = last.ID() {
		page, err := s.Quarantined(background(), last.AtMs, afterID, limit)
		must(t, err)
		all = append(all, page...)
		if len(page) < limit {
			return all
		}
		last = page[len(page)-1]
	}
}

func quarantineOnce(t *testing.T, s StoreUnderTest) {
	item := im.Quarantined{Topic: "conversation", Partition: 7, Reason: "bad \"tag\"", Body: []byte{0xff, 0, 1}, AtMs: startMs}
	again := item
	again.AtMs, again.Reason = startMs+1, "another"
	elsewhere := item
	elsewhere.Partition = 8
	for _, i := range []im.Quarantined{item, again, elsewhere} {
		must(t, s.Quarantine(background(), i))
	}
	got, err := s.Reopen(t).QuarantinedItem(background(), item.ID())
	must(t, err)
	equal(t, "item", got, item)
}

func quarantineList(t *testing.T, s StoreUnderTest) {
	equal(t, "empty", len(inQuarantine(t, s, 10)), 0)
	for n, atMs := range []int64{startMs + 2, startMs, startMs + 1, startMs + 1, startMs + 1} {
		must(t, s.Quarantine(background(), quarantined(int64(n), atMs)))
	}
	all := inQuarantine(t, s, 10)
	equal(t, "items", len(all), 5)
	for i := 1; i < len(all); i++ {
		before, this := &all[i-1], &all[i]
		if before.AtMs > this.AtMs || before.AtMs == this.AtMs && before.ID() >= this.ID() {
			t.Errorf("%+v stands before %+v", before, this)
		}
	}
	for limit := 1; limit < 5; limit++ {
		equal(t, fmt.Sprint("by pages of ", limit), inQuarantine(t, s, limit), all)
	}
}

func quarantineRelease(t *testing.T, s StoreUnderTest) {
	first, second := quarantined(1, startMs), quarantined(2, startMs)
	must(t, s.Quarantine(background(), first))
	must(t, s.Quarantine(background(), second))
	must(t, s.Release(background(), first.ID(), nil))
	mustBe(t, s.Release(background(), first.ID(), nil), im.ErrNotFound)
	_, err := s.QuarantinedItem(background(), first.ID())
	mustBe(t, err, im.ErrNotFound)
	equal(t, "left", inQuarantine(t, s.Reopen(t), 10), []im.Quarantined{second})
}

func quarantineRace(t *testing.T, s StoreUnderTest) {
	item := quarantined(1, startMs)
	must(t, s.Quarantine(background(), item))
	oneWinner(t, together(6, func(int) error { return s.Release(background(), item.ID(), nil) }), im.ErrNotFound)
}

func quarantinePacks(t *testing.T, s StoreUnderTest) {
	outboxOf(t, s)
	item, kept := quarantined(1, startMs), pack(1, 3, "mended")
	must(t, s.Quarantine(background(), item))
	must(t, s.InsertEvents(background(), nil, []im.Pack{kept}))
	mustBe(t, s.Release(background(), item.ID(), []im.Pack{kept}), im.ErrDuplicate) // neither
	equal(t, "still there", inQuarantine(t, s, 10), []im.Quarantined{item})
	other := pack(2, 3, "mended")
	must(t, s.Release(background(), item.ID(), []im.Pack{other}))
	equal(t, "pending", pending(t, s), []im.Pack{kept, other})
	mustBe(t, s.Release(background(), item.ID(), []im.Pack{pack(3, 3, "again")}), im.ErrNotFound)
	equal(t, "pending after a second", pending(t, s), []im.Pack{kept, other})
}

func quarantineUnknown(t *testing.T, s StoreUnderTest) {
	item := quarantined(1, startMs)
	faulty := Faulty(s.Store, Script{"Quarantine": {UnknownLost, UnknownDone}, "Release": {UnknownLost, UnknownDone}})
	mustBe(t, faulty.Quarantine(background(), item), im.ErrUnknown)
	mustBe(t, faulty.Quarantine(background(), item), im.ErrUnknown)
	must(t, faulty.Quarantine(background(), item))
	equal(t, "kept", inQuarantine(t, s, 10), []im.Quarantined{item})
	mustBe(t, faulty.Release(background(), item.ID(), nil), im.ErrUnknown)
	mustBe(t, faulty.Release(background(), item.ID(), nil), im.ErrUnknown)
	mustBe(t, faulty.Release(background(), item.ID(), nil), im.ErrNotFound)
}
