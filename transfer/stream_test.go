package transfer

import (
	"testing"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Bodies for one gateway go out in order, in messages that gRPC takes; what is
// behind them stays behind them, and what is too much leaves its head.
func TestPushesInParts(t *testing.T) {
	const body, count = 64 << 10, 2*maxPushBytes/(64<<10) + 1
	g := newGateway("g")
	for seq := int64(1); seq <= count; seq++ {
		g.push([]*imv1.Push{{
			What:    &imv1.Push_Entry{Entry: make([]byte, body)},
			Targets: []*imv1.Target{{Session: 7, Seq: seq}},
		}}, nil)
	}
	g.head(&imv1.HeadOf{Session: 7, Head: count})
	g.kick(&imv1.Kicked{Session: 7})

	last, heads := int64(0), int64(0)
	for more := true; more; {
		var message *imv1.ToGateway
		message, more = g.take()
		size := 0
		for _, p := range message.Pushes {
			if size += len(p.GetEntry()); p.GetHeadOnly() {
				heads = p.Targets[0].Seq
				continue
			}
			if p.Targets[0].Seq != last+1 {
				t.Fatalf("seq %d after %d", p.Targets[0].Seq, last)
			}
			last++
		}
		if size > messagePushBytes+body {
			t.Errorf("a message of %d bytes", size)
		}
		if n := len(message.Heads) + len(message.Kicks); more && n > 0 || !more && n != 2 {
			t.Errorf("%d heads and kicks, more is %v", n, more)
		}
	}
	if last >= count || last < maxPushBytes/body-1 {
		t.Errorf("%d bodies of %d", last, count)
	}
	if heads != count {
		t.Errorf("the head is %d, want %d", heads, count)
	}
	if g.pushBytes != 0 || len(g.heads) != 0 {
		t.Errorf("%d bytes and %d heads are left", g.pushBytes, len(g.heads))
	}
}
