package transfer

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// push sends what a commit brought to the gateways where its users are attached:
// every body is encoded once for the sender's devices and once for all others, and
// goes once to each gateway with the list of its sessions.
func (b *inbox) push(c *inboxCommit) {
	out := outgoing{}
	for at := 0; at < len(c.planned); {
		entries := sameEnvelope(c.planned[at:])
		out.add(entries, c.atMs, c.batch.trace)
		at += len(entries)
	}
	for g, o := range out {
		g.push(o.pushes, o.spans)
	}
}

// sameEnvelope returns the entries that the first one's envelope has put there.
func sameEnvelope(entries []plannedEntry) []plannedEntry {
	end := 1
	for end < len(entries) && entries[end].envelope == entries[0].envelope {
		end++
	}
	return entries[:end]
}

// outgoing is what a commit brings to each gateway.
type outgoing map[*gateway]*gatewayPushes

// gatewayPushes are one gateway's, in order.
type gatewayPushes struct {
	pushes []*imv1.Push
	spans  []im.Span     // of those that are traced
	newest [2]*imv1.Push // to others, to the sender
}

// onePush is a push and its first target, at once because most have no other.
type onePush struct {
	push    imv1.Push
	target  imv1.Target
	targets [1]*imv1.Target
}

// add adds the pushes of one envelope's entries.
func (out outgoing) add(entries []plannedEntry, atMs int64, trace *batchTrace) {
	var bodies [2]*imv1.Push_Entry // for others, for the sender
	event := entries[0].envelope.GetEvent()
	for i := range entries {
		p := &entries[i]
		if p.dropped || len(p.user.sessions) == 0 {
			continue
		}
		own := 0
		if event != nil && event.SenderId == p.user.id {
			own = 1
		}
		if bodies[own] == nil {
			bodies[own] = &imv1.Push_Entry{Entry: encodeEntry(p.envelope, &p.entry, own == 1, atMs)}
		}
		for _, a := range p.user.sessions {
			to := out.to(a.gateway)
			if !to.add(own, bodies[own], event.GetB3(), a.session, p.seq) {
				continue
			}
			if span, ok := trace.pushing(event, a.gateway); ok {
				to.spans = append(to.spans, span)
			}
		}
	}
}

func (out outgoing) to(g *gateway) *gatewayPushes {
	o := out[g]
	if o == nil {
		o = &gatewayPushes{}
		out[g] = o
	}
	return o
}

// add adds a target to the push of a body, which is made when the body is new.
func (o *gatewayPushes) add(own int, body *imv1.Push_Entry, b3 string, session uint64, seq int64) (made bool) {
	if newest := o.newest[own]; newest != nil && newest.What == body {
		newest.Targets = append(newest.Targets, &imv1.Target{Session: session, Seq: seq})
		return false
	}
	one := &onePush{}
	one.target.Session, one.target.Seq = session, seq
	one.targets[0] = &one.target
	one.push.What, one.push.B3, one.push.Targets = body, b3, one.targets[:]
	o.newest[own] = &one.push
	o.pushes = append(o.pushes, &one.push)
	return true
}

// messageRoom is what most encoded messages fit in, for buffers on the stack.
const messageRoom = 768

// entryRoom is what most entries take beside the body of their message.
const entryRoom = 320

// encodeEntry encodes an entry without its seq as a device gets it.
func encodeEntry(envelope *imv1.InboxEnvelope, entry *im.InboxEntry, own bool, atMs int64) []byte {
	e := envelope.GetEvent()
	if e == nil {
		return append(appendString(nil, entryKind, string(entry.Kind)), entry.Data...)
	}
	var room [messageRoom]byte
	field, shown := appendShown(room[:0], e, own)
	encoded := make([]byte, 0, len(shown)+len(e.Kind)+len(entry.Data)+24)
	encoded = appendString(encoded, entryKind, e.Kind)
	encoded = appendInt(encoded, entryAtMs, atMs)
	encoded = protowire.AppendTag(encoded, field, protowire.BytesType)
	return append(protowire.AppendBytes(encoded, shown), entry.Data...)
}

// appendShown encodes an event as entries show it, and says in which field.
func appendShown(b []byte, e *imv1.Event, own bool) (protowire.Number, []byte) {
	switch im.Kind(e.Kind) {
	case im.KindMembership:
		return entryMembership, appendSaid(b, e)
	case im.KindRecall:
		return entryRecall, appendSaid(b, e)
	case im.KindEdit:
		return entryEdit, appendSaid(b, e)
	case im.KindReaction:
		return entryReaction, appendSaid(b, e)
	case im.KindContact:
		return entryContact, append(b, e.Body...)
	}
	return entryMessage, appendMessage(b, e, own)
}

// The fields of im.v1.Entry and im.v1.Message that are written by hand, so that a
// stored body goes to devices without being decoded: an encoded message is the
// concatenation of its fields.
const (
	entrySeq        = 1
	entryKind       = 2
	entryAtMs       = 3
	entryHasRead    = 4
	entryMessage    = 5
	entryRecall     = 7
	entryEdit       = 8
	entryReaction   = 9
	entryMembership = 10
	entryContact    = 13
	entryLate       = 15

	// Of memberships, recalls, edits and reactions.
	saidConversationID  = 1
	saidConversationSeq = 2

	recallMessageID   = 3
	recallBy          = 4
	editMessageID     = 3
	editContent       = 4
	editVersion       = 5
	editBy            = 6
	reactionMessageID = 3
	reactionUserID    = 4

	messageID               = 1
	messageConversationID   = 2
	messageConversationType = 3
	messageConversationSeq  = 4
	messageSenderID         = 5
	messageContent          = 6
	messageSentAtMs         = 8
	messageEditedAtMs       = 9
	messageExpiresAtMs      = 10
	messageVersion          = 11
	messageRecalled         = 12
	messageDeleted          = 13
	messageReactions        = 14
	messageSenderDeviceID   = 15
	messageClientMsgID      = 16
	messageNoUnread         = 17
)

// appendMessage encodes a message event as an im.v1.Message; own copies name the
// device and client_msg_id that it came from.
func appendMessage(b []byte, e *imv1.Event, own bool) []byte {
	return appendInt(appendBare(b, e, e.Body, own), messageVersion, 1)
}

// appendBare encodes a message event, with a body, but for what can change of it.
func appendBare(b []byte, e *imv1.Event, body []byte, own bool) []byte {
	b = appendInt(b, messageID, e.Id)
	b = appendString(b, messageConversationID, e.ConversationId)
	b = appendString(b, messageConversationType, e.ConversationType)
	b = appendInt(b, messageConversationSeq, e.Seq)
	b = appendString(b, messageSenderID, e.SenderId)
	b = append(b, body...)
	b = appendInt(b, messageSentAtMs, e.AtMs)
	b = appendInt(b, messageExpiresAtMs, e.ExpiresAtMs)
	if own {
		b = appendString(b, messageSenderDeviceID, e.DeviceId)
		b = appendString(b, messageClientMsgID, e.ClientId)
	}
	if !e.Counted {
		b = appendInt(b, messageNoUnread, 1)
	}
	return b
}

// appendSaid encodes a membership event as an im.v1.Membership, and so the changes of
// messages: in all of them what is stored stands behind where it belongs.
func appendSaid(b []byte, e *imv1.Event) []byte {
	b = appendString(b, saidConversationID, e.ConversationId)
	b = appendInt(b, saidConversationSeq, e.Seq)
	return append(b, e.Body...)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendInt(b []byte, field protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v)) //nolint:gosec // a bit pattern
}
