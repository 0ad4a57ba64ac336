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
	outgoing := map[*gateway][]*imv1.Push{}
	for at := 0; at < len(c.planned); {
		end := at + 1
		for end < len(c.planned) && c.planned[end].envelope == c.planned[at].envelope {
			end++
		}
		b.pushEnvelope(c.planned[at:end], c.atMs, outgoing)
		at = end
	}
	for g, pushes := range outgoing {
		g.push(pushes)
	}
}

// pushEnvelope adds the pushes of one envelope's entries.
func (b *inbox) pushEnvelope(entries []plannedEntry, atMs int64, outgoing map[*gateway][]*imv1.Push) {
	var made [2]map[*gateway]*imv1.Push // others, the sender
	var bodies [2][]byte
	for i := range entries {
		p := &entries[i]
		if p.dropped || len(p.user.sessions) == 0 {
			continue
		}
		own := 0
		if event := p.envelope.GetEvent(); event != nil && event.SenderId == p.user.id {
			own = 1
		}
		if bodies[own] == nil {
			bodies[own] = encodeEntry(p.envelope, &p.entry, own == 1, atMs)
			made[own] = map[*gateway]*imv1.Push{}
		}
		for _, a := range p.user.sessions {
			push := made[own][a.gateway]
			if push == nil {
				push = &imv1.Push{What: &imv1.Push_Entry{Entry: bodies[own]}, B3: p.envelope.GetEvent().GetB3()}
				made[own][a.gateway] = push
				outgoing[a.gateway] = append(outgoing[a.gateway], push)
			}
			push.Targets = append(push.Targets, &imv1.Target{Session: a.session, Seq: p.seq})
		}
	}
}

// encodeEntry encodes an entry without its seq as a device gets it.
func encodeEntry(envelope *imv1.InboxEnvelope, entry *im.InboxEntry, own bool, atMs int64) []byte {
	if envelope.GetEvent() == nil {
		return append(appendString(nil, entryKind, string(entry.Kind)), entry.Data...)
	}
	e := envelope.GetEvent()
	message := encodeMessage(e, own)
	encoded := make([]byte, 0, len(message)+32)
	encoded = appendString(encoded, entryKind, e.Kind)
	encoded = appendInt(encoded, entryAtMs, atMs)
	encoded = protowire.AppendTag(encoded, entryMessage, protowire.BytesType)
	return protowire.AppendBytes(encoded, message)
}

// The fields of im.v1.Entry and im.v1.Message that are written by hand, so that a
// stored body goes to devices without being decoded: an encoded message is the
// concatenation of its fields.
const (
	entryKind    = 2
	entryAtMs    = 3
	entryHasRead = 4
	entryMessage = 5

	messageID               = 1
	messageConversationID   = 2
	messageConversationType = 3
	messageConversationSeq  = 4
	messageSenderID         = 5
	messageSentAtMs         = 8
	messageExpiresAtMs      = 10
	messageVersion          = 11
	messageSenderDeviceID   = 15
	messageClientMsgID      = 16
)

// encodeMessage encodes a message event as an im.v1.Message; own copies name the
// device and client_msg_id that it came from.
func encodeMessage(e *imv1.Event, own bool) []byte {
	b := make([]byte, 0, len(e.Body)+192)
	b = appendInt(b, messageID, e.Id)
	b = appendString(b, messageConversationID, e.ConversationId)
	b = appendString(b, messageConversationType, e.ConversationType)
	b = appendInt(b, messageConversationSeq, e.Seq)
	b = appendString(b, messageSenderID, e.SenderId)
	b = append(b, e.Body...)
	b = appendInt(b, messageSentAtMs, e.AtMs)
	b = appendInt(b, messageExpiresAtMs, e.ExpiresAtMs)
	b = appendInt(b, messageVersion, 1)
	if own {
		b = appendString(b, messageSenderDeviceID, e.DeviceId)
		b = appendString(b, messageClientMsgID, e.ClientId)
	}
	return b
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
