package session

import (
	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// receive handles the incoming message, on a goroutine of the crew while the
// reader waits. All answers to it are written together, unless they are many.
func (s *Session) receive() {
	defer s.flush()
	data := s.incoming
	if len(data) == 0 || len(data) > im.MaxClientFrameBytes {
		s.disconnect(im.ProtocolError, "a message is empty or too large", 0)
		return
	}
	if s.textual {
		frame, err := wire.ParseText(data)
		s.handle(frame, err)
		return
	}
	for len(data) > 0 && s.goesOn() {
		frame, rest, err := wire.Split(data, im.MaxClientFrameBytes)
		if err != nil {
			s.readFailed(err)
			return
		}
		s.handle(frame, nil)
		data = rest
	}
}

// goesOn waits, in a message of many frames, until there is room for more answers; false
// when the session ends. Some frames take 20 bytes, and their answers 256 KiB.
func (s *Session) goesOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending() > highWater {
		s.mu.Unlock()
		s.flush()
		s.mu.Lock()
	}
	return s.drained()
}

// handle judges a frame: its form, then whether it may come now.
func (s *Session) handle(frame wire.Frame, err error) {
	if !s.fix(frame.Form) {
		s.disconnect(im.ProtocolError, "the form is fixed by the first frame", 0)
		return
	}
	refusal := judge(frame, err)
	switch {
	case refusal == nil && frame.Op == wire.OpAuth:
		s.auth(frame)
	case s.phase == phaseLive && refusal != nil:
		s.answer(frame.Seq, refusal)
	case s.phase == phaseLive:
		s.operate(frame)
	default:
		if refusal != nil {
			s.answer(frame.Seq, refusal)
		}
		s.disconnect(im.DisconnectUnauthenticated, "auth comes first", 0)
	}
}

// judge refuses what is no operation of a client.
func judge(frame wire.Frame, err error) *im.Error {
	switch {
	case err != nil:
		return im.Errorf(im.Invalid, "%s", err.Error())
	case frame.Op.SentBy(wire.Client):
		return nil
	case frame.Op.SentBy(wire.Server):
		return im.Errorf(im.Invalid, "operation %s comes from the server only", frame.Op)
	}
	return im.Errorf(im.Invalid, "unknown operation")
}

// fix makes the first frame's form the connection's; false for another one later.
func (s *Session) fix(form wire.Form) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.form == 0 {
		s.form = form
	}
	return s.form == form
}

// operate carries out an operation of a live session.
func (s *Session) operate(frame wire.Frame) {
	switch frame.Op {
	case wire.OpHeartbeat:
		if s.decode(frame, &imv1.Heartbeat{}) {
			s.heartbeat(frame.Seq)
		}
	case wire.OpSend:
		s.publishSend(frame)
	case wire.OpRead:
		s.publishRead(frame)
	case wire.OpSignal:
		s.publishSignal(frame)
	case wire.OpAck:
		s.ack(frame)
	case wire.OpSync:
		s.sync(frame)
	case wire.OpWatch:
		s.watch(frame)
	case wire.OpJoin:
		s.joinRoom(frame)
	case wire.OpLeave:
		s.leaveRoom(frame)
	default:
		s.answer(frame.Seq, im.Errorf(im.Invalid, "%s is not supported by this server", frame.Op))
	}
}

func (s *Session) publishSend(frame wire.Frame) {
	var send imv1.Send
	if body, ok := s.encoded(frame, &send); ok {
		publish := &imv1.Publish{What: &imv1.Publish_Send{Send: body}}
		if s.inRoom(roomOf(send.To)) {
			publish.What = &imv1.Publish_Vouched{Vouched: &imv1.Vouched{What: &imv1.Vouched_Send{Send: body}, Joined: true}}
		}
		s.join(publish, send.B3)
		im.CrashPoint(im.CrashSendRead)
		s.publish(publish, frame.Seq, requestPublish)
	}
}

func (s *Session) publishRead(frame wire.Frame) {
	var read imv1.Read
	if body, ok := s.encoded(frame, &read); ok {
		s.publish(&imv1.Publish{What: &imv1.Publish_Read{Read: body}}, frame.Seq, requestPublish)
	}
}

func (s *Session) publishSignal(frame wire.Frame) {
	var signal imv1.Signal
	if body, ok := s.encoded(frame, &signal); ok {
		publish := &imv1.Publish{What: &imv1.Publish_Signal{Signal: body}}
		if s.inRoom(roomOf(signal.To)) {
			publish.What = &imv1.Publish_Vouched{Vouched: &imv1.Vouched{What: &imv1.Vouched_Signal{Signal: body}, Joined: true}}
		}
		s.publish(publish, frame.Seq, requestSignal)
	}
}

// encoded checks a body and returns it in protobuf, without unknown fields.
func (s *Session) encoded(frame wire.Frame, m wire.Body) ([]byte, bool) {
	if !s.decode(frame, m) {
		return nil, false
	}
	body, err := wire.AppendBody(nil, wire.Proto, m)
	if err != nil {
		s.answer(frame.Seq, im.Errorf(im.Invalid, "%s", err.Error()))
	}
	return body, err == nil
}

// decode reads a body; a bad one is answered.
func (s *Session) decode(frame wire.Frame, m proto.Message) bool {
	err := wire.Unmarshal(frame.Form, frame.Body, m)
	if err != nil {
		s.answer(frame.Seq, im.Errorf(im.Invalid, "bad body of %s", frame.Op))
	}
	return err == nil
}
