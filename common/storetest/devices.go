package storetest

import (
	"fmt"
	"testing"

	"github.com/im-transfer/im"
)

var deviceTests = []testCase{
	{"are put, and put again", putDevice},
	{"are signed out of their own family only", signOut},
	{"sign out many at once, if they are still those", signOutMany},
	{"are named, woken, and listed", changeDevice},
	{"refresh race has one winner", refreshRace},
	{"refresh generations are found", refreshGenerations},
	{"log in with everything about them", loginState},
	{"are held against their families, many at once", families},
}

const uuidDevice = "0f0e0d0c-0b0a-4908-8706-050403020100"

func putDevice(t *testing.T, s StoreUnderTest) {
	_, err := s.Device(background(), "u", "d")
	mustBe(t, err, im.ErrNotFound)
	for _, id := range []string{"d", uuidDevice} {
		device := im.Device{UserID: "u", DeviceID: id, Platform: "web", Family: "f1", CreatedAtMs: startMs}
		must(t, s.PutDevice(background(), device))
		got, err := s.Device(background(), "u", id)
		must(t, err)
		equal(t, "device", got, device)
		must(t, s.CommitInbox(background(), &im.InboxCommit{Cursors: []im.Cursor{{UserID: "u", DeviceID: id, Seq: 7}}}))

		device.Platform, device.Family = "ios", "f2"
		must(t, s.PutDevice(background(), device))
		got, err = s.Device(background(), "u", id)
		must(t, err)
		equal(t, "device again", got, device)
	}
	cursors, err := s.Cursors(background(), []string{"u"})
	must(t, err)
	equal(t, "cursors", []int64{cursors[0].Seq, cursors[1].Seq}, []int64{7, 7})
	_, err = s.Device(background(), "v", "d")
	mustBe(t, err, im.ErrNotFound)
}

func signOut(t *testing.T, s StoreUnderTest) {
	device := im.Device{UserID: "u", DeviceID: "d", Platform: "web", Family: "new", CreatedAtMs: startMs}
	must(t, s.PutDevice(background(), device))
	signsOut(t, s, "u", "d", "old")
	got, err := s.Device(background(), "u", "d")
	must(t, err)
	equal(t, "family", got.Family, "new")
	signsOut(t, s, "u", "d", "new")
	got, err = s.Device(background(), "u", "d")
	must(t, err)
	equal(t, "signed out", got.Family, "")
	signsOut(t, s, "nobody", "d", "new")
}

func signsOut(t *testing.T, s StoreUnderTest, user, device, family string) {
	t.Helper()
	must(t, s.SignOut(background(), im.Device{UserID: user, DeviceID: device, Family: family}))
}

// Of many devices at once those are signed out that have the families given.
func signOutMany(t *testing.T, s StoreUnderTest) {
	must(t, s.SignOut(background()))
	var all []im.Device
	for _, name := range []string{"a", "b", "c"} {
		device := im.Device{UserID: "u", DeviceID: name, Platform: "web", Family: "f" + name, CreatedAtMs: startMs}
		must(t, s.PutDevice(background(), device))
		all = append(all, device)
	}
	must(t, s.ChangeDevice(background(), "u", "a", im.DeviceChange{Push: &im.Push{Provider: "p", Token: "t"}}))
	all[1].Family = "of before"
	must(t, s.SignOut(background(), append(all, im.Device{UserID: "nobody", DeviceID: "a", Family: "fa"})...))
	for name, want := range map[string]string{"a": "", "b": "fb", "c": ""} {
		got, err := s.Device(background(), "u", name)
		must(t, err)
		equal(t, "the family of "+name, got.Family, want)
		equal(t, "what wakes "+name, got.Push, im.Push{})
	}
}

func changeDevice(t *testing.T, s StoreUnderTest) {
	name, push := "my phone", im.Push{Provider: "apns", Token: "t"}
	mustBe(t, s.ChangeDevice(background(), "u", "d", im.DeviceChange{Name: &name}), im.ErrNotFound)
	want := map[string]im.Device{}
	for _, id := range []string{"d", uuidDevice} {
		want[id] = im.Device{UserID: "u", DeviceID: id, Platform: "web", Family: "f" + id, CreatedAtMs: startMs}
		must(t, s.PutDevice(background(), want[id]))
	}
	must(t, s.PutDevice(background(), im.Device{UserID: "v", DeviceID: "d", Platform: "ios", Family: "f", CreatedAtMs: startMs}))
	check := func(step string) {
		t.Helper()
		devices, err := s.DevicesOf(background(), "u")
		must(t, err)
		got := map[string]im.Device{}
		for _, d := range devices {
			got[d.DeviceID] = d
			one, err := s.Device(background(), "u", d.DeviceID)
			must(t, err)
			equal(t, step+", by itself", one, d)
		}
		equal(t, step, got, want)
	}
	change := func(of string, change im.DeviceChange, now func(*im.Device)) {
		t.Helper()
		must(t, s.ChangeDevice(background(), "u", of, change))
		d := want[of]
		now(&d)
		want[of] = d
		check("changed")
	}
	check("at first")
	change("d", im.DeviceChange{Name: &name}, func(d *im.Device) { d.Name = name })
	change(uuidDevice, im.DeviceChange{Push: &push}, func(d *im.Device) { d.Push = push })
	change("d", im.DeviceChange{Push: &push}, func(d *im.Device) { d.Push = push })
	change("d", im.DeviceChange{}, func(*im.Device) {})
	again := want["d"]
	again.Family = "f2"
	must(t, s.PutDevice(background(), im.Device{UserID: "u", DeviceID: "d", Platform: "web", Family: "f2", CreatedAtMs: startMs}))
	want["d"] = again
	check("signed in again")
	signsOut(t, s, "u", "d", "f2") // nothing wakes it then
	again.Family, again.Push = "", im.Push{}
	want["d"] = again
	check("signed out")
	devices, err := s.DevicesOf(background(), "nobody")
	must(t, err)
	equal(t, "of nobody", len(devices), 0)
}

func refreshRace(t *testing.T, s StoreUnderTest) {
	_, err := s.LastRefresh(background(), "f")
	mustBe(t, err, im.ErrNotFound)
	must(t, s.InsertRefresh(background(), im.Refresh{Family: "other", Generation: 9, AtMs: 1}))
	for generation := int64(1); generation <= 10; generation++ {
		errs := together(6, func(i int) error {
			return s.InsertRefresh(background(), im.Refresh{Family: "f", Generation: generation, AtMs: int64(i)})
		})
		winner := oneWinner(t, errs, im.ErrDuplicate)
		last, err := s.LastRefresh(background(), "f")
		must(t, err)
		equal(t, "last", last, im.Refresh{Family: "f", Generation: generation, AtMs: int64(winner)})
	}
}

func refreshGenerations(t *testing.T, s StoreUnderTest) {
	_, err := s.Refresh(background(), "f", 1)
	mustBe(t, err, im.ErrNotFound)
	refresh := func(family string, generation, seconds int64) im.Refresh {
		r := im.Refresh{Family: family, Generation: generation, AtMs: startMs + seconds*1000}
		must(t, s.InsertRefresh(background(), r))
		return r
	}
	kept := []im.Refresh{refresh("other", 1, 0)}
	refresh("f", 1, 0) // more than 2 before the newest and more than a minute: it may be forgotten
	kept = append(kept, refresh("f", 2, 1), refresh("f", 3, 2), refresh("f", 4, 3600))
	kept = append(kept, refresh("g", 1, 0), refresh("g", 2, 1), refresh("g", 3, 2), refresh("g", 4, 60))
	for _, want := range kept {
		got, err := s.Refresh(background(), want.Family, want.Generation)
		must(t, err)
		equal(t, "generation", got, want)
	}
	_, err = s.Refresh(background(), "f", 5)
	mustBe(t, err, im.ErrNotFound)
	last, err := s.LastRefresh(background(), "f")
	must(t, err)
	equal(t, "last", last, kept[3])
}

func loginState(t *testing.T, s StoreUnderTest) {
	u := user("u")
	device := im.Device{UserID: u.ID, DeviceID: uuidDevice, Platform: "web", Family: "f", CreatedAtMs: startMs}
	missing := func(step string) {
		t.Helper()
		if _, err := s.LoginState(background(), u.ID, uuidDevice); err == nil {
			t.Fatal("found " + step)
		} else {
			mustBe(t, err, im.ErrNotFound)
		}
	}
	missing("nobody")
	must(t, s.CreateUser(background(), u))
	missing("a user without the device")
	must(t, s.PutDevice(background(), device))

	want := im.LoginState{User: u, Device: device, Cursor: im.Cursor{UserID: u.ID, DeviceID: uuidDevice}}
	check := func(step string) {
		t.Helper()
		got, err := s.LoginState(background(), u.ID, uuidDevice)
		must(t, err)
		equal(t, fmt.Sprint("state ", step), got, want)
	}
	check("at first")
	must(t, s.CommitInbox(background(), &im.InboxCommit{Cursors: []im.Cursor{want.Cursor}}))
	want.HasCursor = true
	check("with a cursor at 0")
	commitBlocks(t, s, block(u.ID, 1, 4))
	want.Head = 4
	must(t, s.CommitInbox(background(), &im.InboxCommit{Cursors: []im.Cursor{{UserID: u.ID, DeviceID: uuidDevice, Seq: 3, ReceiptedSeq: 1}}}))
	want.Cursor.Seq, want.Cursor.ReceiptedSeq = 3, 1
	check("with an inbox")
}

func families(t *testing.T, s StoreUnderTest) {
	none, err := s.Families(background(), nil)
	must(t, err)
	equal(t, "of no devices", len(none), 0)
	for _, name := range []string{"u", "v"} {
		must(t, s.CreateUser(background(), user(name)))
	}
	u, v := user("u").ID, user("v").ID
	must(t, s.PutDevice(background(), im.Device{UserID: u, DeviceID: uuidDevice, Platform: "web", Family: "f"}))
	must(t, s.PutDevice(background(), im.Device{UserID: u, DeviceID: "d", Platform: "web", Family: "g"}))
	must(t, s.PutDevice(background(), im.Device{UserID: v, DeviceID: "d", Platform: "web", Family: "h"}))
	signsOut(t, s, u, "d", "g")
	got, err := s.Families(background(), []im.DeviceKey{
		{UserID: v, DeviceID: "d"}, {UserID: u, DeviceID: "d"}, {UserID: v, DeviceID: uuidDevice},
		{UserID: "nobody", DeviceID: "d"}, {UserID: u, DeviceID: uuidDevice}, {UserID: v, DeviceID: "d"},
	})
	must(t, err)
	equal(t, "families", got, []string{"h", "", "", "", "f", "h"})
}
