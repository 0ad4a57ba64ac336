package transfer

import (
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// readSignal tells a group's other members who are online how far one of them has read.
// It goes out where in a direct conversation a receipt does, as seldom as that.
type readSignal struct {
	conversationID string
	readerID       string
	upto           int64
	others         []string
}

func newReadSignal(state *im.ConversationState, mark *im.ReadMark) readSignal {
	s := readSignal{conversationID: mark.ConversationID, readerID: mark.UserID, upto: mark.ReadUpto}
	s.others = make([]string, 0, len(state.Members))
	for i := range state.Members {
		if id := state.Members[i].UserID; id != mark.UserID {
			s.others = append(s.others, id)
		}
	}
	return s
}

func (r *readSignal) encoded() ([]byte, error) {
	signal := &imv1.Signal{
		Type: "read", ConversationId: r.conversationID, From: &imv1.SignalFrom{UserId: r.readerID},
		Data: &structpb.Struct{Fields: map[string]*structpb.Value{"upto": structpb.NewStringValue(strconv.FormatInt(r.upto, 10))}},
	}
	return signal.MarshalVT()
}

// tellReads signals the reads of a commit, once they are stored. Those whose inboxes other
// transfers own are reached by way of a gateway, any of which has a stream to all.
func (b *inbox) tellReads(c *inboxCommit) {
	for i := range c.receipts.signals {
		r := &c.receipts.signals[i]
		encoded, err := r.encoded()
		if err != nil {
			continue // ids of ours always can be
		}
		elsewhere, _ := b.server.toUsers(r.others, encoded, nil)
		if len(elsewhere) == 0 {
			continue
		}
		if g := b.server.anyGateway(); g != nil {
			g.relay(&imv1.Relay{UserIds: elsewhere, Signal: encoded})
		}
	}
}

// anyGateway returns a gateway with a stream here, nil when there is none.
func (s *Server) anyGateway() *gateway {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.gateways {
		return g
	}
	return nil
}
