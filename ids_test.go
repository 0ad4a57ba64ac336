package im_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/im-transfer/im"
)

// What is stored under these ids must be found by every later version.
func TestConversationIDsNeverChange(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{im.DirectConversation("alice", "bob"), "driuj6frxyged26qjdhapzam7v2"},
		{im.DirectConversation("alice", "alice"), "d5yac7fxxp646utykvzxptoikrh"},
		{im.GroupConversation("g1"), "gkmiy4y63auvnekpnsayqiieofo"},
		{im.RoomConversation("g1"), "r5rleuxouuj7m3sltxdk37bl2x2"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

func TestPartitionsNeverChange(t *testing.T) {
	for key, want := range map[string]int{"": 1, "alice": 12, "bob": 13, im.GroupConversation("g1"): 10} {
		if got := im.Partition(key, 16); got != want {
			t.Errorf("%q is in partition %d, want %d", key, got, want)
		}
	}
}

func id(t *rapid.T, label string) string {
	return rapid.StringMatching(`[a-z\x{e9}0-9:-]{1,32}`).Draw(t, label)
}

func TestDirectConversationHasNoDirection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := id(t, "a"), id(t, "b")
		if im.DirectConversation(a, b) != im.DirectConversation(b, a) {
			t.Fatalf("%q and %q have two conversations", a, b)
		}
	})
}

// Lengths are part of what is hashed, so no two pairs run together.
func TestConversationsOfDifferentUsersDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.StringMatching(`[ab]{4,8}`).Draw(t, "whole")
		i := rapid.IntRange(1, len(whole)-1).Draw(t, "i")
		j := rapid.IntRange(1, len(whole)-1).Draw(t, "j")
		one, other := [2]string{whole[:i], whole[i:]}, [2]string{whole[:j], whole[j:]}
		same := one == other || one == [2]string{other[1], other[0]}
		if (im.DirectConversation(one[0], one[1]) == im.DirectConversation(other[0], other[1])) != same {
			t.Fatalf("%q and %q", one, other)
		}
	})
}

func TestConversationTypeOf(t *testing.T) {
	for id, want := range map[string]im.ConversationType{
		im.DirectConversation("a", "b"): im.Direct,
		im.GroupConversation("g"):       im.Group,
		im.RoomConversation("r"):        im.Room,
	} {
		if got, ok := im.ConversationTypeOf(id); !ok || got != want {
			t.Errorf("%s is %q, %v", id, got, ok)
		}
	}
	direct := im.DirectConversation("a", "b")
	for _, id := range []string{"", "d", direct[:26], direct + "a", "x" + direct[1:], strings.ToUpper(direct), "d" + strings.Repeat("1", 26)} {
		if got, ok := im.ConversationTypeOf(id); ok {
			t.Errorf("%q is %q", id, got)
		}
	}
}

func TestPartitionStaysWithinAndSpreads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, im.MaxPartitions).Draw(t, "n")
		if p := im.Partition(rapid.String().Draw(t, "key"), n); p < 0 || p >= n {
			t.Fatalf("partition %d of %d", p, n)
		}
	})
	var users [16]int
	const each = 1000
	for range each * len(users) {
		users[im.Partition(im.NewID(), len(users))]++
	}
	for p, n := range users {
		if n < each*8/10 || n > each*12/10 { // six standard deviations and more
			t.Errorf("partition %d has %d of %d", p, n, each)
		}
	}
}

func TestNewIDIsAnIDAndNew(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := im.NewID()
		if len(id) != 26 || !im.ValidID(id) || seen[id] {
			t.Fatalf("%q", id)
		}
		seen[id] = true
	}
}

func TestEventIDsOfEventsAndOthersNeverMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Int64Min(0).Draw(t, "id")
		parts := rapid.SliceOf(rapid.String()).Draw(t, "parts")
		if im.EventIDOf(number) == im.DerivedEventID(parts...) {
			t.Fatalf("%d and %q", number, parts)
		}
		other := rapid.Int64Min(0).Draw(t, "other")
		if (im.EventIDOf(number) == im.EventIDOf(other)) != (number == other) {
			t.Fatalf("%d and %d", number, other)
		}
		if again := im.DerivedEventID(slices.Clone(parts)...); again != im.DerivedEventID(parts...) {
			t.Fatalf("%q has two ids", parts)
		}
	})
	if im.DerivedEventID("ab", "c") == im.DerivedEventID("a", "bc") {
		t.Error("parts run together")
	}
}
