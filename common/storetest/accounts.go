package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/im-transfer/im"
)

var accountTests = []testCase{
	{"are found by name and by id", usersFound},
	{"with a taken name are refused", userNameTaken},
	{"race for a name has one winner", userNameRace},
	{"missing ones are made", ensureUsers},
	{"missing ones are made once by many", ensureTogether},
	{"are found by the beginning of a name", usersByPrefix},
	{"change, and are deleted for good", changeAccount},
}

func user(name string) im.User {
	return im.User{ID: "id of " + name, Username: name, Nickname: "Nick " + name, PasswordHash: "$argon2id$" + name, CreatedAtMs: startMs}
}

func usersFound(t *testing.T, s StoreUnderTest) {
	a, b := user("a"), user("b")
	b.Disabled, b.PasswordHash, b.Nickname = true, "", ""
	must(t, s.CreateUser(background(), a))
	must(t, s.CreateUser(background(), b))
	for _, want := range []im.User{a, b} {
		got, err := s.UserByName(background(), want.Username)
		must(t, err)
		equal(t, "by name", got, want)
	}
	_, err := s.UserByName(background(), "c")
	mustBe(t, err, im.ErrNotFound)

	got, err := s.UsersByID(background(), []string{b.ID, "nobody", a.ID, b.ID})
	must(t, err)
	slices.SortFunc(got, func(a, b im.User) int { return cmp.Compare(a.ID, b.ID) })
	equal(t, "by id", got, []im.User{a, b})
	got, err = s.UsersByID(background(), nil)
	must(t, err)
	equal(t, "none", len(got), 0)
}

func userNameTaken(t *testing.T, s StoreUnderTest) {
	must(t, s.CreateUser(background(), user("a")))
	other := user("a")
	other.ID = "another"
	mustBe(t, s.CreateUser(background(), other), im.ErrDuplicate)
	got, err := s.UsersByID(background(), []string{"another"})
	must(t, err)
	equal(t, "users", len(got), 0)
	other.Username = "b"
	must(t, s.CreateUser(background(), other))
}

func userNameRace(t *testing.T, s StoreUnderTest) {
	errs := together(8, func(i int) error {
		u := user("a")
		u.ID = fmt.Sprint(i)
		return s.CreateUser(background(), u)
	})
	winner := oneWinner(t, errs, im.ErrDuplicate)
	got, err := s.UserByName(background(), "a")
	must(t, err)
	equal(t, "id", got.ID, fmt.Sprint(winner))
}

func ensureUsers(t *testing.T, s StoreUnderTest) {
	a, b := user("a"), user("b")
	must(t, s.CreateUser(background(), a))
	other, twice := a, b
	other.ID, twice.ID = "another a", "another b"
	got, made, err := s.EnsureUsers(background(), []im.User{b, other, twice})
	must(t, err)
	equal(t, "users", got, []im.User{b, a, b})
	equal(t, "made", made[:2], []bool{true, false})
	equal(t, "number", len(made), 3)
	_, made, err = s.EnsureUsers(background(), []im.User{b, other})
	must(t, err)
	equal(t, "made again", made, []bool{false, false})
}

func ensureTogether(t *testing.T, s StoreUnderTest) {
	const callers, names = 6, 10
	ids, made := make([][]string, callers), make([][]bool, callers)
	errs := together(callers, func(c int) error {
		var users []im.User
		for n := range names {
			u := user(fmt.Sprint("n", n))
			u.ID = fmt.Sprint(c, "-", n)
			users = append(users, u)
		}
		got, madeNow, err := s.EnsureUsers(background(), users)
		for _, u := range got {
			ids[c] = append(ids[c], u.ID)
		}
		made[c] = madeNow
		return err
	})
	times := make([]int, names)
	for c := range callers {
		must(t, errs[c])
		equal(t, "ids", ids[c], ids[0])
		for n := range names {
			if made[c][n] {
				times[n]++
			}
		}
	}
	equal(t, "times made", times, slices.Repeat([]int{1}, names))
}

func usersByPrefix(t *testing.T, s StoreUnderTest) {
	for _, name := range []string{"an", "ann", "ann.b", "ann_c", "anna", "bo"} {
		must(t, s.CreateUser(background(), user(name)))
	}
	search := func(prefix, after string, limit int) (names []string) {
		users, err := s.UsersByPrefix(background(), prefix, after, limit)
		must(t, err)
		for _, u := range users {
			names = append(names, u.Username)
		}
		return names
	}
	equal(t, "all", search("ann", "", 10), []string{"ann", "ann.b", "ann_c", "anna"})
	equal(t, "a page", search("ann", "", 2), []string{"ann", "ann.b"})
	equal(t, "the next", search("ann", "ann.b", 10), []string{"ann_c", "anna"})
	equal(t, "none", len(search("annx", "", 10)), 0)
}

func changeAccount(t *testing.T, s StoreUnderTest) {
	u := user("u")
	must(t, s.CreateUser(background(), u))
	check := func(what string, change im.AccountChange) {
		t.Helper()
		must(t, s.ChangeAccount(background(), u.ID, change))
		got, err := s.UsersByID(background(), []string{u.ID})
		must(t, err)
		equal(t, what, got, []im.User{u})
	}
	hash, yes, no := "another", true, false
	u.PasswordHash = hash
	check("password", im.AccountChange{PasswordHash: &hash})
	u.Disabled = true
	check("disabled", im.AccountChange{Disabled: &yes})
	u.Disabled = false
	check("enabled", im.AccountChange{Disabled: &no})
	check("nothing", im.AccountChange{})
	u.Disabled, u.Deleted, u.PasswordHash, u.Nickname = true, true, "", ""
	check("deleted", im.AccountChange{Delete: true})
	check("deleted for good", im.AccountChange{Disabled: &no, PasswordHash: &hash})
	mustBe(t, s.CreateUser(background(), im.User{ID: "another", Username: "u"}), im.ErrDuplicate)
	mustBe(t, s.ChangeAccount(background(), "nobody", im.AccountChange{Disabled: &yes}), im.ErrNotFound)
}
