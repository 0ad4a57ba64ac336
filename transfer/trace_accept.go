package transfer

import (
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// acceptTrace is the traced commands of one queue item, until it is confirmed. A
// nil one is of an item without.
type acceptTrace struct {
	server    *Server
	began     time.Time
	published time.Time
	commands  []tracedCommand
	partition string
}

// tracedCommand is what the spans of a command need to know of it.
type tracedCommand struct {
	place          im.Trace
	conversationID string
}

// traceAccepted begins the trace of a batch of commands that is about to be
// published, and was received at a time.
func (s *Server) traceAccepted(topic string, b *batch, began time.Time) *acceptTrace {
	var t *acceptTrace
	for _, command := range b.commands {
		place, ok := s.traced(command.B3)
		if !ok {
			continue
		}
		if t == nil {
			t = &acceptTrace{server: s, began: began, published: s.now(), partition: partitionName(topic, b.partition)}
		}
		t.commands = append(t.commands, tracedCommand{place, command.ConversationId})
	}
	return t
}

// b3 is the trace of the first of them, as a header.
func (t *acceptTrace) b3() string {
	if t == nil {
		return ""
	}
	return t.commands[0].place.String()
}

// confirmed reports what the queue has said: accept up to the hand-over to it, then
// publish.
func (t *acceptTrace) confirmed(err error) {
	if t == nil {
		return
	}
	end := t.server.now()
	for _, c := range t.commands {
		tags := map[string]string{"partition": t.partition, "conversation.id": c.conversationID}
		if err != nil {
			tags["error"] = err.Error()
		}
		t.server.config.Tracer.Report(im.Span{Trace: c.place.Child(), Name: "accept", Start: t.began, End: t.published, Tags: tags})
		t.server.config.Tracer.Report(im.Span{
			Trace: c.place.Child(), Name: "publish", Kind: im.SpanProducer, Start: t.published, End: end, Tags: tags,
		})
	}
}

// traceRefused reports a request that accept has refused.
func (s *Server) traceRefused(p *imv1.Publish, began time.Time, err error) {
	if place, ok := s.traced(p.B3); ok {
		s.config.Tracer.Report(im.Span{
			Trace: place.Child(), Name: "accept", Start: began, End: s.now(), Tags: map[string]string{"error": string(im.AsError(err).Code)},
		})
	}
}
