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
	case s.owner == nil:
		s.answerBeats()
	case len(s.beats) == 1:
		s.beatAt = s.hub.now()
		s.owner.headRequest(s)
	}
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
