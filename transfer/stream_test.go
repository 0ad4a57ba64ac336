package transfer

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Bodies for one gateway go out in order, in messages that gRPC takes; what is
// behind them stays behind them, and what is too much leaves its head.
func TestPushesInParts(t *testing.T) {
	const body, count = 64 << 10, 2*maxPushBytes/(64<<10) + 1
	counted := prometheus.NewRegistry()
	g := newGateway("g", newMetrics(counted))
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
	if n := metricOf(t, counted, "im_push_bodies_dropped_total"); int64(n) != count-last {
		t.Errorf("%v bodies count as dropped, want %d", n, count-last)
	}
	if heads != count {
		t.Errorf("the head is %d, want %d", heads, count)
	}
	if g.pushBytes != 0 || len(g.heads) != 0 {
		t.Errorf("%d bytes and %d heads are left", g.pushBytes, len(g.heads))
	}
}

// However much has gathered for a gateway while its stream was not read, each
// message stays within what gRPC takes, and nothing is dropped but bodies.
func TestAMessageToAGatewayIsBounded(t *testing.T) {
	const sessions, credit, grpcMaximum = 100_000, 16384, 4 << 20
	g := newGateway("g", newMetrics(nil))
	body := &imv1.Push_Entry{Entry: make([]byte, 60<<10)}
	for i := range uint64(sessions) {
		g.attached(&imv1.Attached{Session: i, Head: 1 << 40, Acked: 1 << 40, Generation: &imv1.Generation{Term: 1 << 40, Counter: 1 << 40}})
		g.head(&imv1.HeadOf{Session: i, Head: 1 << 40, Acked: 1 << 40})
		g.push([]*imv1.Push{{What: body, Targets: []*imv1.Target{{Session: i, Seq: 1 << 40}}}}, nil)
		if i < credit {
			g.reply(&imv1.Reply{Session: i, Request: 1 << 60, What: &imv1.Reply_SendAck{SendAck: &imv1.SendAck{
				ClientMsgId: "0123456789012345678901234567890123456789012345678901234567890123", MessageId: 1 << 60,
				ConversationId: "d12345678901234567890123456", ConversationSeq: 1 << 40, SentAtMs: 1 << 40,
			}}})
		}
	}
	attached, heads, pushed, replies := 0, 0, 0, 0
	for more := true; more; {
		var message *imv1.ToGateway
		message, more = g.take()
		if size := message.SizeVT(); size > grpcMaximum {
			t.Fatalf("a message of %d bytes", size)
		}
		attached, heads, replies = attached+len(message.Attached), heads+len(message.Heads), replies+len(message.Replies)
		for _, push := range message.Pushes {
			pushed += len(push.Targets)
		}
	}
	if attached != sessions || heads != sessions || pushed != sessions || replies != credit {
		t.Errorf("%d attached, %d heads, %d pushed, %d replies", attached, heads, pushed, replies)
	}
}
