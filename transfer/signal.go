package transfer

import (
	"context"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// signalRequest is a signal that accept took, on its way to the members online.
type signalRequest struct {
	origin         *imv1.Origin
	userID         string
	deviceID       string
	conversationID string
	peerID         string
	signal         *imv1.Signal
	joined         bool // its session is in the room that it is for
}

// signalPush is a signal for users of one inbox partition.
type signalPush struct {
	userIDs []string
	except  *imv1.Origin // the session that it came from; nil = none
	encoded []byte
}

// acceptSignal judges a signal's frame. Signals are best effort: when too many are
// waiting the sender is told so, and nothing is kept.
func (s *Server) acceptSignal(p *imv1.Publish, origin *imv1.Origin, encoded []byte, joined bool) error {
	signal := &imv1.Signal{}
	if err := signal.UnmarshalVT(encoded); err != nil {
		return im.Errorf(im.Invalid, "the body is no Signal")
	}
	if signal.Type == "" || len(signal.Type) > im.MaxSignalTypeBytes || signal.Type == "presence" || signal.Type == "read" {
		return im.Errorf(im.Invalid, "type must be 1 to %d bytes, and not one of the server's", im.MaxSignalTypeBytes)
	}
	if s.policy.Load().RefuseSignals {
		return im.Errorf(im.Forbidden, "signals are switched off")
	}
	command := &imv1.Command{UserId: p.UserId}
	if err := address(command, signal.To); err != nil {
		return err
	}
	select {
	case s.signals <- signalRequest{
		origin: origin, userID: p.UserId, deviceID: p.DeviceId, signal: signal,
		conversationID: command.ConversationId, peerID: command.PeerId, joined: joined,
	}:
		return nil
	default:
		return im.Retry(im.Unavailable, retrySoon, "too many signals")
	}
}

func (s *Server) serveSignals(ctx context.Context) {
	for {
		select {
		case r := <-s.signals:
			if err := s.signal(ctx, r); err != nil {
				s.answer(r.origin, errorReply(err))
			}
		case <-ctx.Done():
			return
		}
	}
}

// signal sends a signal to those members of its conversation whose inboxes are owned
// here, the sender's other devices included. Gateways send it to every transfer.
func (s *Server) signal(ctx context.Context, r signalRequest) error {
	inRoom := im.IsRoom(r.conversationID)
	var members []string
	var err error
	if inRoom {
		err = s.signalsInRoom(ctx, r)
	} else {
		members, err = s.signalMembers(ctx, r)
	}
	if err != nil {
		return err
	}
	out := &imv1.Signal{
		Type: r.signal.Type, Data: r.signal.Data, ConversationId: r.conversationID,
		From: &imv1.SignalFrom{UserId: r.userID, DeviceId: r.deviceID},
	}
	encoded, err := out.MarshalVT()
	if err != nil {
		return im.Errorf(im.Invalid, "the signal can not be encoded")
	}
	if inRoom {
		s.signalRoom(r, encoded)
		return nil
	}
	if _, all := s.toUsers(members, encoded, r.origin); !all { // the sender may know
		return im.Retry(im.Unavailable, retrySoon, "some members can not be reached")
	}
	return nil
}

// toUsers pushes a signal to those users whose inboxes are owned here, and returns the
// others; not all is that a partition is behind: signals are best effort.
func (s *Server) toUsers(ids []string, encoded []byte, except *imv1.Origin) (elsewhere []string, all bool) {
	byInbox := map[*inbox][]string{}
	for _, id := range ids {
		if box := s.inboxOf(id); box != nil {
			byInbox[box] = append(byInbox[box], id)
		} else {
			elsewhere = append(elsewhere, id)
		}
	}
	all = true
	for box, ids := range byInbox {
		select {
		case box.controls <- controls{signal: &signalPush{userIDs: ids, except: except, encoded: encoded}}:
		default:
			all = false
		}
	}
	return elsewhere, all
}

// signalMembers returns who is in the conversation, the sender among them; of a
// direct conversation without messages, the two users.
func (s *Server) signalMembers(ctx context.Context, r signalRequest) ([]string, error) {
	states, err := s.store.Conversations(ctx, []string{r.conversationID})
	if err != nil {
		return nil, im.Retry(im.Unavailable, retrySoon, "the store does not answer")
	}
	if !states[0].Exists && r.peerID != "" {
		users, err := s.store.UsersByID(ctx, []string{r.peerID})
		if err != nil {
			return nil, im.Retry(im.Unavailable, retrySoon, "the store does not answer")
		}
		if len(users) == 0 {
			return nil, im.Errorf(im.NotFound, "no such user")
		}
		return []string{r.userID, r.peerID}, nil
	}
	var ids []string
	among := false
	for _, m := range states[0].Members {
		ids = append(ids, m.UserID)
		among = among || m.UserID == r.userID
		if m.Blocked && m.UserID == r.userID {
			return nil, im.Errorf(im.Forbidden, "the signal is refused")
		}
	}
	if !among {
		return nil, im.Errorf(im.NotFound, "no such conversation")
	}
	return ids, nil
}

// signal pushes a signal to the attached sessions of its users.
func (b *inbox) signal(p *signalPush) {
	byGateway := map[*gateway]*imv1.Push{}
	for _, id := range p.userIDs {
		user := b.users[id]
		if user == nil {
			continue
		}
		for _, a := range user.sessions {
			if a.gateway.id == p.except.GetGateway() && a.session == p.except.GetSession() {
				continue
			}
			if byGateway[a.gateway] == nil {
				byGateway[a.gateway] = &imv1.Push{What: &imv1.Push_Signal{Signal: p.encoded}}
			}
			push := byGateway[a.gateway]
			push.Targets = append(push.Targets, &imv1.Target{Session: a.session})
		}
	}
	for g, push := range byGateway {
		g.push([]*imv1.Push{push}, nil)
	}
}
