package test

import (
	"context"
	"slices"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Somebody is taken into a group, and a server dies of it. Who asked asks again, with
// the same key: the new member is in, once, all members were told of it once, and what
// is said afterwards is for the new member too.
func aNewMember(s *scene) {
	w := s.talk()
	alice := w.api(w.alice)
	group, _, err := alice.CreateGroup(s.t.Context(), "crash")
	if err != nil {
		s.t.Fatal(err)
	}
	s.holds(alice, "created")
	s.arm()
	alice = w.api(w.alice) // the server may be at another address
	add := func(ctx context.Context) error {
		return alice.WithKey("add bob").AddMembers(ctx, group, w.bob.userID)
	}
	s.diesOf(s.row.place, func(ctx context.Context) { add(ctx) }) //nolint:errcheck // the server dies of it, or it is asked again
	s.mend()
	alice, bob := w.api(w.alice), w.api(w.bob)
	if _, err := again(s.t, func() (int, error) { return 0, add(s.t.Context()) }); err != nil {
		s.t.Fatalf("asked again: %v", err)
	}
	send := &imv1.Send{ClientMsgId: "welcome", To: client.ToGroup(group), Content: client.TextContent("welcome")}
	if _, err := again(s.t, func() (client.Ack, error) { return alice.SendMessage(s.t.Context(), send) }); err != nil {
		s.t.Fatal(err)
	}
	s.holds(bob, "joined", "message")
	s.holds(alice, "created", "joined", "message")
}

// holds waits until an inbox ends with a kind of entry, and checks that it holds these
// and no others: of memberships, the actions.
func (s *scene) holds(api *client.API, want ...string) {
	s.t.Helper()
	from := int64(0)
	got, err := again(s.t, func() (kinds []string, err error) {
		page, err := api.Inbox(s.t.Context(), client.InboxQuery{After: &from})
		if err != nil {
			return nil, err
		}
		for _, e := range page.GetEntries() {
			if m := e.GetMembership(); m != nil {
				kinds = append(kinds, m.GetAction())
			} else {
				kinds = append(kinds, e.GetKind())
			}
		}
		if !slices.Contains(kinds, want[len(want)-1]) {
			return nil, im.Errorf(im.Unavailable, "it has %v", kinds)
		}
		return kinds, nil
	})
	if err != nil || !slices.Equal(got, want) {
		s.t.Errorf("an inbox has %v (%v), want %v", got, err, want)
	}
}
