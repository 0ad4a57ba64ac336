package http

import (
	"fmt"
	"testing"
	"time"
)

func TestALimiterAllowsABurstAndThenARate(t *testing.T) {
	l, now := newLimiter(Rate{Burst: 3, Every: time.Second}), time.Unix(1000, 0)
	for range 3 {
		if wait := l.take("a", now); wait != 0 {
			t.Fatalf("within the burst: wait %v", wait)
		}
	}
	if wait := l.take("a", now.Add(400*time.Millisecond)); wait != 600*time.Millisecond {
		t.Errorf("beyond it: wait %v", wait)
	}
	if wait := l.take("b", now); wait != 0 {
		t.Errorf("another key: wait %v", wait)
	}
	now = now.Add(time.Second)
	if wait := l.take("a", now); wait != 0 {
		t.Errorf("after the wait: wait %v", wait)
	}
	l.give("a")
	if wait := l.take("a", now); wait != 0 {
		t.Errorf("after one was given back: wait %v", wait)
	}
	now = now.Add(time.Hour)
	for i := range 4 {
		if wait := l.take("a", now); (wait != 0) != (i == 3) {
			t.Errorf("a rest saves up no more than the burst: take %d waits %v", i, wait)
		}
	}
}

func TestLimitersAreBounded(t *testing.T) {
	l, now := newLimiter(Rate{Burst: 1, Every: time.Second}), time.Unix(1000, 0)
	for i := range maxRemembered + 10 {
		l.take("often", now)
		l.take(fmt.Sprint(i), now)
	}
	if len(l.keys.items) != maxRemembered || l.keys.order.Len() != maxRemembered {
		t.Errorf("%d keys are remembered", len(l.keys.items))
	}
	if l.take("often", now) == 0 {
		t.Error("a key in use was forgotten")
	}
}
