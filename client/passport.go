package client

import (
	"context"
	"strconv"
)

// Passport says what became of a message, and when. All times are Unix milliseconds; 0 is
// not known, or not yet.
type Passport struct {
	MessageID       int64
	ConversationID  string
	ConversationSeq int64
	SenderID        string
	TraceID         string // empty = it is not traced
	AcceptedAtMs    int64  // a server took it
	SequencedAtMs   int64  // it got its place in the conversation
	StoredByMs      int64  // it was stored then, or before
	Recipients      []Delivery
	Next            string // cursor of the next page of recipients; empty at the end
}

// Delivery is the way of a message to one user.
type Delivery struct {
	UserID      string
	InboxSeq    int64
	InboxedAtMs int64
	Read        bool
	ReadAtMs    int64
	Devices     []DeviceDelivery
}

// DeviceDelivery is the way of a message to one device. Its times are exact to a second or
// two.
type DeviceDelivery struct {
	DeviceID    string // of one's own devices only
	Platform    string
	Acked       bool // the device has it
	WrittenAtMs int64
	AckedAtMs   int64
}

type passportAnswer struct {
	MessageID       number `json:"message_id"`
	ConversationID  string `json:"conversation_id"`
	ConversationSeq number `json:"conversation_seq"`
	SenderID        string `json:"sender_id"`
	TraceID         string `json:"trace_id"`
	AcceptedAtMs    number `json:"accepted_at_ms"`
	SequencedAtMs   number `json:"sequenced_at_ms"`
	StoredByMs      number `json:"stored_by_ms"`
	Recipients      []struct {
		UserID      string `json:"user_id"`
		InboxSeq    number `json:"inbox_seq"`
		InboxedAtMs number `json:"inboxed_at_ms"`
		Read        bool   `json:"read"`
		ReadAtMs    number `json:"read_at_ms"`
		Devices     []struct {
			DeviceID    string `json:"device_id"`
			Platform    string `json:"platform"`
			Acked       bool   `json:"acked"`
			WrittenAtMs number `json:"written_at_ms"`
			AckedAtMs   number `json:"acked_at_ms"`
		} `json:"devices"`
	} `json:"recipients"`
	Next string `json:"next"`
}

// Passport returns the passport of a message: for its sender, and in groups the owner and
// the admins. The recipients come in pages, by user id; a limit of 0 is 50, at most 200.
func (a *API) Passport(ctx context.Context, messageID int64, cursor string, limit int) (Passport, error) {
	var answer passportAnswer
	if err := a.call(ctx, "GET", "/v1/messages/"+strconv.FormatInt(messageID, 10)+"/passport", cursorValues(cursor, limit), nil, &answer); err != nil {
		return Passport{}, err
	}
	p := Passport{
		MessageID: int64(answer.MessageID), ConversationID: answer.ConversationID, ConversationSeq: int64(answer.ConversationSeq),
		SenderID: answer.SenderID, TraceID: answer.TraceID, AcceptedAtMs: int64(answer.AcceptedAtMs),
		SequencedAtMs: int64(answer.SequencedAtMs), StoredByMs: int64(answer.StoredByMs), Next: answer.Next,
	}
	for _, r := range answer.Recipients {
		d := Delivery{UserID: r.UserID, InboxSeq: int64(r.InboxSeq), InboxedAtMs: int64(r.InboxedAtMs), Read: r.Read, ReadAtMs: int64(r.ReadAtMs)}
		for _, on := range r.Devices {
			d.Devices = append(d.Devices, DeviceDelivery{on.DeviceID, on.Platform, on.Acked, int64(on.WrittenAtMs), int64(on.AckedAtMs)})
		}
		p.Recipients = append(p.Recipients, d)
	}
	return p, nil
}
