package transfer

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Tracer takes the spans of traced messages. Which are traced has been decided
// where they came in: their b3 says so, and names the span that every step of
// theirs is a child of.
type Tracer interface {
	// Report takes a span that is over. It must not block.
	Report(span im.Span)
}

// traced returns the place of the span that b3 names, if its message is traced and
// somebody wants to know.
func (s *Server) traced(b3 string) (im.Trace, bool) {
	if b3 == "" || s.config.Tracer == nil {
		return im.Trace{}, false
	}
	place, ok := im.ParseTrace(b3)
	return place, ok && place.Sampled()
}

// mark is a moment on the way of a batch through a step.
type mark int

const (
	markReceived  mark = iota // from the queue
	markInserting             // the first insert began
	markStored                // the events, or the blocks, are in
	markCount
)

// batchTrace notes the moments of a batch with a traced message. A nil one is of a
// batch without, and does nothing, so that such a batch pays for it with a look at
// each b3. One goroutine at a time uses it.
type batchTrace struct {
	server    *Server
	partition string
	at        [markCount]time.Time
}

// traceBatch begins the trace of a batch that was just received.
func (s *Server) traceBatch(topic string, partition int) *batchTrace {
	t := &batchTrace{server: s, partition: partitionName(topic, partition)}
	t.reach(markReceived)
	return t
}

// reach notes that a moment has come; when it comes again, in another try, the
// first stands.
func (t *batchTrace) reach(m mark) {
	if t != nil && t.at[m].IsZero() {
		t.at[m] = t.server.now()
	}
}

// maxLinks bounds the messages that the span of a batch names.
const maxLinks = 32

// batchSpan is the span of a batch, in a trace of its own: one commit is of many
// messages, and a span is of one trace. Zipkin has no links, so tags stand for
// them: it names the spans of its messages, and they name it.
type batchSpan struct {
	im.Span
	name string // as a tag names it
	size int
}

func (t *batchTrace) batch(name string, size int, end time.Time) *batchSpan {
	span := im.Span{
		Trace: im.Trace{Sampling: "1"}.Child(), Name: name, Kind: im.SpanConsumer, Start: t.at[markReceived], End: end,
		Tags: map[string]string{"partition": t.partition, "batch.size": strconv.Itoa(size)},
	}
	return &batchSpan{Span: span, name: placeName(span.Trace), size: size}
}

// link names a message's span.
func (b *batchSpan) link(to im.Trace) {
	if n := len(b.Tags) - 2; n < maxLinks {
		b.Tags["link."+strconv.Itoa(n)] = placeName(to)
	}
}

func placeName(t im.Trace) string { return t.TraceID + "/" + t.SpanID }

// messageTags are the tags of a message's spans in a step. They may be added to
// until the first of those is reported.
func (t *batchTrace) messageTags(batch *batchSpan, conversationID string) map[string]string {
	return map[string]string{
		"partition": t.partition, "batch.size": strconv.Itoa(batch.size), "batch": batch.name, "conversation.id": conversationID,
	}
}

// number adds the numbers of an event to the tags of its spans.
func number(tags map[string]string, id, seq int64) {
	tags["message.id"], tags["conversation.seq"] = strconv.FormatInt(id, 10), strconv.FormatInt(seq, 10)
}

// traceBatch begins the trace of a batch of commands, if one of them is traced.
func (s *sequencer) traceBatch(batch []*pending) *batchTrace {
	for _, p := range batch {
		if _, ok := s.server.traced(p.command.B3); ok {
			return s.server.traceBatch(TopicConversation, s.partition)
		}
	}
	return nil
}

// sequenced reports what became of a batch of commands: of each traced one, the
// steps from the queue to the confirm of the fan-out. failed is why the partition is
// given up instead; the next owner's steps then stand beside these.
func (t *batchTrace) sequenced(batch []*pending, failed error) {
	if t == nil {
		return
	}
	end := t.server.now()
	whole := t.batch("sequence batch", len(batch), end)
	for _, p := range batch {
		if place, ok := t.server.traced(p.command.B3); ok {
			whole.link(t.message(place, p, whole, end, failed))
		}
	}
	t.server.config.Tracer.Report(whole.Span)
}

// message reports the steps of one command, one after the other, and returns the
// place of the first.
func (t *batchTrace) message(place im.Trace, p *pending, whole *batchSpan, end time.Time, failed error) im.Trace {
	tags := t.messageTags(whole, p.command.ConversationId)
	tags["queue.waited_ms"] = strconv.FormatInt(t.at[markReceived].UnixMilli()-p.command.AcceptedAtMs, 10)
	steps := []im.Span{{Trace: place.Child(), Name: "sequence", Kind: im.SpanConsumer, Start: t.at[markReceived], End: end, Tags: tags}}
	switch {
	case failed != nil:
		tags["error"] = failed.Error()
	case p.refusal != nil:
		tags["error"] = string(im.AsError(p.refusal).Code)
	default:
		number(tags, p.event.ID, p.event.Seq)
		in := t.at[markStored]
		if p.repeat {
			tags["repeat"] = "true"
			steps[0].End = in
		} else {
			steps[0].End = t.at[markInserting]
			steps = append(steps, im.Span{Trace: place.Child(), Name: "store", Start: t.at[markInserting], End: in, Tags: tags})
		}
		steps = append(steps, im.Span{Trace: place.Child(), Name: "fan-out", Kind: im.SpanProducer, Start: in, End: end, Tags: tags})
	}
	for _, step := range steps {
		t.server.config.Tracer.Report(step)
	}
	return steps[0].Trace
}

// traceBatch begins the trace of a batch of envelopes, if one of them is of a traced
// event.
func (b *inbox) traceBatch(envelopes []*imv1.InboxEnvelope) *batchTrace {
	for _, envelope := range envelopes {
		if _, ok := b.server.traced(envelope.GetEvent().GetB3()); ok {
			return b.server.traceBatch(TopicInbox, b.partition)
		}
	}
	return nil
}

// committed reports a batch of envelopes that is in the inboxes: a span for each of
// a traced event.
func (t *batchTrace) committed(c *inboxCommit) {
	if t == nil {
		return
	}
	t.reach(markStored)
	whole := t.batch("inbox batch", len(c.batch.envelopes), t.at[markStored])
	for at := 0; at < len(c.planned); {
		entries := sameEnvelope(c.planned[at:])
		if place, ok := t.server.traced(entries[0].envelope.GetEvent().GetB3()); ok {
			whole.link(t.entries(place, entries, whole))
		}
		at += len(entries)
	}
	t.server.config.Tracer.Report(whole.Span)
}

// maxSeqs bounds the inbox seqs that the span of an envelope names.
const maxSeqs = 16

// entries reports the commit of one envelope and returns its place.
func (t *batchTrace) entries(place im.Trace, entries []plannedEntry, whole *batchSpan) im.Trace {
	event := entries[0].envelope.GetEvent()
	tags := t.messageTags(whole, event.ConversationId)
	number(tags, event.Id, event.Seq)
	seqs := make([]string, 0, maxSeqs)
	for i := range entries {
		if p := &entries[i]; p.dropped {
			tags["repeat"] = "true"
		} else if len(seqs) < maxSeqs {
			seqs = append(seqs, strconv.FormatInt(p.seq, 10))
		}
	}
	tags["inbox.seq"], tags["users"] = strings.Join(seqs, ","), strconv.Itoa(len(entries))
	span := im.Span{
		Trace: place.Child(), Name: "inbox", Kind: im.SpanConsumer, Start: t.at[markReceived], End: t.at[markStored], Tags: tags,
	}
	t.server.config.Tracer.Report(span)
	return span.Trace
}

// pushing returns the span of a push to a gateway, which ends when the stream has
// taken it; none where the event is not traced.
func (t *batchTrace) pushing(event *imv1.Event, to *gateway) (im.Span, bool) {
	if t == nil {
		return im.Span{}, false
	}
	place, ok := t.server.traced(event.GetB3())
	if !ok {
		return im.Span{}, false
	}
	tags := map[string]string{"partition": t.partition, "conversation.id": event.ConversationId, "gateway": to.id}
	number(tags, event.Id, event.Seq)
	return im.Span{Trace: place.Child(), Name: "push", Start: t.at[markStored], Tags: tags}, true
}

// pushed reports the pushes that the stream has taken, or has not.
func (s *Server) pushed(spans []im.Span, err error) {
	for _, span := range spans {
		if span.End = s.now(); err != nil {
			span.Tags["error"] = fmt.Sprint("send to the gateway: ", err)
		}
		s.config.Tracer.Report(span)
	}
}

// firstTrace returns the b3 of the first traced event, for the header of a queue
// item.
func (s *Server) firstTrace(envelopes []*imv1.InboxEnvelope) string {
	for _, envelope := range envelopes {
		if b3 := envelope.GetEvent().GetB3(); b3 != "" {
			if _, ok := s.traced(b3); ok {
				return b3
			}
		}
	}
	return ""
}
