package http

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	// readScan is how many entries behind a message are looked at, at once and at most, for
	// the receipt by which its reader said that it was read.
	readScan    = 256
	maxReadScan = 4 * readScan
)

type passportQuery struct {
	ID string `path:"id" doc:"A message_id."`
	PageQuery
}

// Passport says what became of a message, and when.
type Passport struct {
	MessageID       int64Text       `json:"message_id"`
	ConversationID  string          `json:"conversation_id"`
	ConversationSeq int64Text       `json:"conversation_seq"`
	SenderID        string          `json:"sender_id"`
	TraceID         string          `json:"trace_id,omitempty" doc:"Left out where it is not traced."`
	AcceptedAtMs    int64Text       `json:"accepted_at_ms" doc:"A transfer took it."`
	SequencedAtMs   int64Text       `json:"sequenced_at_ms" doc:"It got its place in the conversation: what sent_at_ms says."`
	StoredByMs      int64Text       `json:"stored_by_ms,omitempty" doc:"It was stored then, or before: when it was in the first inbox of the page."`
	Recipients      []RecipientView `json:"recipients" nullable:"false" doc:"The members at its time, the sender among them, by user_id."`
	Next            string          `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

// RecipientView is the way of a message to one user.
type RecipientView struct {
	UserID      string         `json:"user_id"`
	InboxSeq    int64Text      `json:"inbox_seq,omitempty" doc:"Left out where it is not in the inbox yet, or no longer."`
	InboxedAtMs int64Text      `json:"inboxed_at_ms,omitempty" doc:"It was put into the inbox."`
	Read        bool           `json:"read,omitempty"`
	ReadAtMs    int64Text      `json:"read_at_ms,omitempty" doc:"Left out where that is not known any more."`
	Devices     []DeliveryView `json:"devices" nullable:"false"`
}

// DeliveryView is the way of a message to one device. Times are exact to a second or two.
type DeliveryView struct {
	DeviceID    string    `json:"device_id,omitempty" doc:"Of one's own devices only."`
	Platform    string    `json:"platform,omitempty"`
	Acked       bool      `json:"acked,omitempty" doc:"The device has it."`
	WrittenAtMs int64Text `json:"written_at_ms,omitempty" doc:"It was written to the device; left out where that is not known any more."`
	AckedAtMs   int64Text `json:"acked_at_ms,omitempty" doc:"The device acknowledged it; likewise."`
}

func (s *Server) passportRoutes(api huma.API) {
	register(s, api, operation("read-passport", http.MethodGet, "/v1/messages/{id}/passport", "Messages", byToken, "Read a message's passport",
		"When it was accepted, sequenced, put into each inbox, written to and acknowledged by each device, and read. For its sender, and in "+
			"groups the owner and the admins; to other members it is forbidden."), s.readPassport)
}

func (s *Server) readPassport(ctx context.Context, in *passportQuery) (*answer[Passport], error) {
	after, limit, err := in.behind()
	if err != nil {
		return nil, err
	}
	event, own, err := s.inspected(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	trace, _ := im.ParseTrace(event.B3)
	p := Passport{
		MessageID: int64Text(event.ID), ConversationID: event.ConversationID, ConversationSeq: int64Text(event.Seq), SenderID: event.SenderID,
		TraceID: trace.TraceID, AcceptedAtMs: int64Text(event.AcceptedAtMs), SequencedAtMs: int64Text(event.AtMs), Recipients: []RecipientView{},
	}
	users, err := s.recipientsOf(ctx, &event)
	if err != nil {
		return nil, err
	}
	users = slices.DeleteFunc(users, func(id string) bool {
		return id <= after || own.Blocked && id != own.UserID // by the peer, of whom nothing more is told
	})
	if len(users) > limit {
		users = users[:limit]
		p.Next = keyCursor(users[limit-1])
	}
	if p.Recipients, err = s.deliveriesOf(ctx, &event, users); err != nil {
		return nil, err
	}
	for _, r := range p.Recipients {
		if r.InboxedAtMs > 0 && (p.StoredByMs == 0 || r.InboxedAtMs < p.StoredByMs) {
			p.StoredByMs = r.InboxedAtMs
		}
	}
	return reply(p), nil
}

// inspected returns a message whose passport the caller may see: as its sender, or in a
// group as owner or admin, and the caller's own stay. To who can not see the message it is not found.
func (s *Server) inspected(ctx context.Context, id string) (event im.Event, own im.Member, err error) {
	none := im.Errorf(im.NotFound, "there is no such message")
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil || number <= 0 {
		return event, own, none
	}
	found, err := s.Histories.EventsByID(ctx, im.MessageRefs(number))
	if err != nil {
		return event, own, wrap("look up message", err)
	}
	if len(found) == 0 || found[0].Kind != im.KindMessage {
		return event, own, none
	}
	event = found[0]
	caller := callerOf(ctx).UserID
	stays, err := s.Histories.Stays(ctx, caller, event.ConversationID)
	if err != nil {
		return event, own, wrap("look up membership", err)
	}
	at := slices.IndexFunc(stays, present)
	if at < 0 {
		return event, own, none
	}
	own = stays[at]
	if stays, err = s.withFormerHistory(ctx, event.ConversationID, stays); err != nil {
		return event, own, err
	}
	if !slices.ContainsFunc(stays, func(m im.Member) bool { return m.JoinedSeq <= event.Seq && event.Seq <= m.LeftSeq }) {
		return event, own, none
	}
	if role := im.Role(own.Role); event.SenderID != caller && role != im.RoleOwner && role != im.RoleAdmin {
		return event, own, im.Errorf(im.Forbidden, "a passport is for the sender, and in groups for the owner and the admins")
	}
	return event, own, nil
}

// recipientsOf returns who were members at an event's time, by id.
func (s *Server) recipientsOf(ctx context.Context, event *im.Event) ([]string, error) {
	stays, err := s.Passports.StaysAt(ctx, im.EventRef{ConversationID: event.ConversationID, Seq: event.Seq})
	if err != nil {
		return nil, wrap("look up recipients", err)
	}
	users := make([]string, 0, len(stays))
	for i := range stays {
		users = append(users, stays[i].UserID)
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}

// deliveriesOf follows a message to its recipients.
func (s *Server) deliveriesOf(ctx context.Context, event *im.Event, users []string) ([]RecipientView, error) {
	places, err := s.Passports.FindDeliveries(ctx, event, users)
	if err != nil {
		return nil, wrap("find deliveries", err)
	}
	seqs := make(map[string]int64, len(places))
	for _, place := range places {
		seqs[place.UserID] = place.Seq
	}
	marks, err := s.Histories.ReadMarksOf(ctx, event.ConversationID)
	if err != nil {
		return nil, wrap("read marks", err)
	}
	read := make(map[string]bool, len(marks))
	for _, mark := range marks {
		read[mark.UserID] = mark.ReadUpto >= event.Seq && mark.UserID != event.SenderID
	}
	views := make([]RecipientView, 0, len(users))
	for _, user := range users {
		view := RecipientView{UserID: user, InboxSeq: int64Text(seqs[user]), Read: read[user], Devices: []DeliveryView{}}
		if view.InboxSeq > 0 {
			if err := s.trackTo(ctx, event, &view); err != nil {
				return nil, err
			}
		}
		views = append(views, view)
	}
	return views, nil
}

// trackTo fills in what a user's inbox, and their devices, say of a message.
func (s *Server) trackTo(ctx context.Context, event *im.Event, view *RecipientView) error {
	if err := s.readInboxTimes(ctx, event, view); err != nil {
		return err
	}
	devices, err := s.Devices.DevicesOf(ctx, view.UserID)
	if err != nil {
		return wrap("list devices", err)
	}
	platforms := make(map[string]string, len(devices))
	for _, d := range devices {
		platforms[d.DeviceID] = d.Platform
	}
	cursors, err := s.Devices.Cursors(ctx, []string{view.UserID})
	if err != nil {
		return wrap("read cursors", err)
	}
	slices.SortFunc(cursors, func(a, b im.Cursor) int { return cmp.Compare(a.DeviceID, b.DeviceID) })
	keys := make([]im.ProgressKey, 0, len(cursors))
	for _, c := range cursors {
		keys = append(keys, im.ProgressKey{UserID: view.UserID, DeviceID: c.DeviceID, Seq: int64(view.InboxSeq), FromMs: int64(view.InboxedAtMs)})
	}
	times, err := s.Passports.FirstProgress(ctx, keys)
	if err != nil {
		return wrap("read progress", err)
	}
	own := view.UserID == callerOf(ctx).UserID
	for i, c := range cursors {
		d := DeliveryView{
			Platform: platforms[c.DeviceID], Acked: c.Seq >= int64(view.InboxSeq),
			WrittenAtMs: int64Text(times[i].WrittenAtMs), AckedAtMs: int64Text(times[i].AckedAtMs),
		}
		if own {
			d.DeviceID = c.DeviceID
		}
		view.Devices = append(view.Devices, d)
	}
	return nil
}

// readInboxTimes takes from a user's inbox when a message was put there, and when the user
// said that it was read: the receipt that a read makes is an entry of the reader's own
// inbox.
func (s *Server) readInboxTimes(ctx context.Context, event *im.Event, view *RecipientView) error {
	for after, upto := int64(view.InboxSeq)-1, int64(view.InboxSeq)+maxReadScan; after < upto; {
		page, err := s.Passports.Blocks(ctx, view.UserID, after, readScan)
		if err != nil {
			return wrap("read inbox", err)
		}
		for i := range page.Blocks {
			block := &page.Blocks[i]
			if view.InboxedAtMs == 0 {
				view.InboxedAtMs = int64Text(block.AtMs)
			}
			if at := readAt(block, event, view.UserID); at > 0 {
				view.Read, view.ReadAtMs = true, int64Text(at)
				return nil
			}
			after = block.LastSeq()
		}
		if !view.Read || len(page.Blocks) == 0 || after >= page.Head {
			return nil
		}
	}
	return nil
}

// readAt returns when a block says that its user has read a message, 0 where it does not.
func readAt(block *im.Block, event *im.Event, userID string) int64 {
	for i := range block.Entries {
		e := &block.Entries[i]
		if e.Kind != im.KindReceipt || e.ConversationID != event.ConversationID || e.ConversationSeq < event.Seq {
			continue
		}
		var entry imv1.Entry
		if err := entry.UnmarshalVT(e.Data); err != nil {
			continue // another version's: it says nothing here
		}
		if receipt := entry.GetReceipt(); receipt.GetKind() == "read" && receipt.GetUserId() == userID {
			return block.AtMs
		}
	}
	return 0
}
