package session

import (
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// beatPatience is how long a heartbeat waits for the owner before it is answered
// with the head known here; a client waits for 10 s.
const beatPatience = 2 * time.Second

// heartbeat asks the owner of the inbox for the head, so that even a lost last
// push is found. Heartbeats that come before the answer share it.
func (s *Session) heartbeat(seq int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.haveRoom() {
		return
	}
	s.beats = append(s.beats, seq)
	switch {
	case s.owner == nil && len(s.beats) == 1:
		s.hub.crew.start(s, (*Session).askHead)
	case s.owner == nil:
	case len(s.beats) == 1:
		s.beatAt = s.hub.now()
		s.owner.headRequest(s)
	}
}

// askHead reads the head from the store, through any transfer, while the owner of
// the inbox is not known here: the link to it may be cut and stay so, and entries
// must still be found. Without any transfer the heartbeat is answered as it is.
func (s *Session) askHead() {
	s.mu.Lock()
	after := s.cursor
	s.mu.Unlock()
	page, err := s.pull(s.hub.ctx, &imv1.PullRequest{UserId: s.user, DeviceId: s.device, After: &after, Limit: 1})
	s.mu.Lock()
	if err == nil {
		s.head = max(s.head, page.Head)
	}
	s.answerBeats()
	s.pump()
	s.mu.Unlock()
	s.flush()
}

// answerBeats answers all heartbeats with the head known. The caller holds mu.
func (s *Session) answerBeats() {
	for _, seq := range s.beats {
		s.put(wire.OpHeartbeatReply, seq, &imv1.HeartbeatReply{Head: s.head})
	}
	s.beats = nil
	s.wake()
}

// overdue answers heartbeats that the owner leaves waiting: whoever it is called
// for asked between one and two ticks ago, unless that was answered and it is a
// later one that waits.
func (s *Session) overdue() {
	s.mu.Lock()
	if len(s.beats) > 0 && s.hub.now()-s.beatAt >= beatPatience/2 {
		s.answerBeats()
	}
	s.mu.Unlock()
	s.flush()
}

// headOf takes the owner's word on the head and on what the device has
// acknowledged by another way.
func (s *Session) headOf(h *imv1.HeadOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = max(s.head, h.Head)
	s.progress(h.Acked)
	s.answerBeats()
	s.pump()
}
