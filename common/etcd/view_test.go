package etcd

import (
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// What etcd says is believed at once while it answers, and for one TTL after an
// outage only what it adds.
func TestRemovalsWaitAfterAnOutage(t *testing.T) {
	const ttl = 9 * time.Second
	start := time.Unix(1_000_000, 0)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	v := newView(ttl)
	answers := func(seconds int) bool { // a whole reading without changes
		ended := v.heard(at(seconds))
		v.answered = at(seconds)
		v.settle(at(seconds))
		return ended
	}
	listed := func(when string, want ...string) {
		t.Helper()
		list := v.of("tcp")
		if len(list) != len(want) {
			t.Fatalf("%s: %v, not %v", when, list, want)
		}
		for i, s := range list {
			if s != (im.Server{ID: want[i], Role: "tcp"}) {
				t.Fatalf("%s: %v, not %v", when, list, want)
			}
		}
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		if !v.put("servers/"+id, []byte(`{"id":"`+id+`","role":"tcp"}`)) {
			t.Fatal("a row can not be read")
		}
	}
	if answers(0) || answers(3) {
		t.Fatal("an outage, though etcd answers every third of a TTL")
	}
	v.remove(at(3), "servers/a")
	listed("while etcd answers", "b", "c", "d")

	// Silence for more than a third of the TTL; a change is what is heard first.
	if !v.heard(at(7)) || v.heard(at(7)) {
		t.Fatal("the end of an outage is told once")
	}
	v.remove(at(7), "servers/b")
	v.remove(at(7), "servers/c")
	v.remove(at(7), "servers/unknown")
	answers(8)
	answers(11)
	v.put("servers/b", []byte(`{"id":"b","role":"tcp"}`))
	answers(14)
	listed("before a TTL has passed", "b", "c", "d")

	// A second outage: the wait begins anew.
	answers(18)
	for _, second := range []int{20, 22, 24, 26} {
		answers(second)
		listed("after a second outage", "b", "c", "d")
	}
	answers(27)
	listed("after a TTL", "b", "d")
	v.remove(at(27), "servers/d")
	listed("afterwards", "b")
}

func TestTheViewIsReplacedByAReading(t *testing.T) {
	v := newView(time.Second)
	v.put("servers/a", []byte(`{"id":"a","role":"tcp","later":{"field":1}}`))
	v.put("settings/log.level", []byte("debug"))
	v.put("settings/sampling", []byte("1"))
	for _, key := range v.others(map[string]bool{"settings/sampling": true}) {
		v.remove(time.Now(), key)
	}
	if len(v.of("tcp")) != 0 || len(v.settings) != 1 || v.settings["sampling"] != "1" {
		t.Fatalf("%+v", v)
	}
	if v.put("servers/a", []byte(`{"id":"b"}`)) || v.put("servers/a", nil) {
		t.Fatal("took rows that can not be right")
	}
}
