package test

import (
	"slices"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// In a room too messages change: who is in it is told, and who comes later sees them as
// they are.
func TestMessagesChangeInARoom(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("ann", "bob", "eve")
	conversation := value[string](t)(s.service().CreateRoom(t.Context(), "lobby", "Lobby"))
	ann, bob := newVisitor(t, s, users[0], textSocket), newVisitor(t, s, users[1], binaryTCP)
	ann.join("lobby")
	bob.join("lobby")
	first := value[client.Ack](t)(ann.say("lobby", "one"))
	secret := value[client.Ack](t)(ann.say("lobby", "secret"))
	value[*imv1.Message](t)(ann.api.Edit(t.Context(), first.MessageID, client.TextContent("uno"), 1))
	value[*imv1.Message](t)(bob.api.React(t.Context(), first.MessageID, "👍"))
	value[*imv1.Message](t)(ann.api.Recall(t.Context(), secret.MessageID))
	for _, v := range []*visitor{ann, bob} {
		v.until("the recall", func() bool { return len(v.events) == 3 })
		kinds := []string{v.events[0].GetKind(), v.events[1].GetKind(), v.events[2].GetKind()}
		if !slices.Equal(kinds, []string{"edit", "reaction", "recall"}) {
			t.Errorf("%s is told of %v", v.userID, kinds)
		}
	}
	for what, c := range map[string]struct {
		err  error
		want im.Code
	}{
		"recall by another":       {second(bob.api.Recall(t.Context(), first.MessageID)), im.Forbidden},
		"edit by another":         {second(bob.api.Edit(t.Context(), first.MessageID, client.TextContent("x"), 0)), im.Forbidden},
		"reaction from elsewhere": {second(s.api().WithToken(s.tokens(users[2], "d", "web").AccessToken).React(t.Context(), first.MessageID, "👍")), im.NotFound},
	} {
		if codeOf(c.err) != c.want {
			t.Errorf("%s: %v, want %s", what, c.err, c.want)
		}
	}
	eve := newVisitor(t, s, users[2], textSocket)
	joined := eve.join("lobby").GetMessages()
	history, _, err := eve.api.History(t.Context(), conversation, client.HistoryQuery{Limit: 5})
	if err != nil || len(history) != 2 || len(joined) != 2 {
		t.Fatalf("%d of the history, %d of the join: %v", len(history), len(joined), err)
	}
	for _, seen := range [][]*imv1.Message{joined, history} {
		if m := seen[0]; m.GetContent().GetText() != "uno" || m.GetVersion() != 2 || len(m.GetReactions()) != 1 || m.GetReactions()[0].GetMine() {
			t.Errorf("who comes later sees %v", m)
		}
		if m := seen[1]; !m.GetRecalled() || m.GetContent() != nil {
			t.Errorf("who comes later sees %v", m)
		}
	}
}
