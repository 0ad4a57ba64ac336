package test

import (
	"context"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// phone is one more device of bob, by hand.
func (w *talkers) phone() *imv1.Auth {
	w.history.Apart(w.bob.userID)
	return authOf(w.server.tokens(w.bob.userID, "phone", "ios"), "phone", "ios")
}

// firstByHTTP has alice send her first message by HTTP, so that no session of hers is
// there, and waits until it is in bob's inbox.
func (w *talkers) firstByHTTP() {
	w.t.Helper()
	ack, err := again(w.t, func() (client.Ack, error) {
		return w.api(w.alice).SendMessage(w.t.Context(), w.firstMessage())
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.alice.onSent(ack.ClientMsgID, ack, nil)
}

// api is the HTTP API as a device has it.
func (w *talkers) api(d *device) *client.API {
	return w.server.api().WithToken(d.config.Tokens.AccessToken)
}

// inInbox waits until bob's inbox has so many entries, and returns its epoch.
func (w *talkers) inInbox(entries int) (epoch string) {
	w.t.Helper()
	from := int64(0)
	_, err := again(w.t, func() (int, error) {
		page, err := w.api(w.bob).Inbox(w.t.Context(), client.InboxQuery{After: &from})
		if err == nil && len(page.GetEntries()) < entries {
			err = im.Errorf(im.Unavailable, "%d entries", len(page.GetEntries()))
		}
		epoch = page.GetInboxEpoch()
		return 0, err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return epoch
}

// A device connects for the first time, to begin with what is new; where it begins is
// stored, and stands, though the device has not been told.
func whoConnectsForTheFirstTime(s *scene) {
	w := s.talk()
	phone := w.phone()
	phone.Start = "newest"
	w.firstByHTTP()
	w.inInbox(1)
	s.arm()
	s.diesOf(s.row.place, s.whoEnters(phone, nil))
	s.mend()
	w.connect()
	w.alice.say(w.bob.userID, 1)
	w.bob.untilMessages(2)
	conn, reply := s.enter(phone)
	if reply.GetResumeFrom() != 1 {
		s.t.Errorf("the device resumes from %d, want 1", reply.GetResumeFrom())
	}
	conn.untilMessages(1)
	conn.contiguous(1)
	w.areServed()
}

// A device connects and is not told; whose place it takes is so for the next owner too.
func whoConnects(s *scene) {
	w := s.talk()
	phone := w.phone()
	s.arm()
	s.diesOf(s.row.place, s.whoEnters(phone, nil))
	s.mend()
	older, _ := s.enter(phone)
	newer, _ := s.enter(phone)
	older.endsWith(im.Superseded)
	w.connect()
	w.alice.say(w.bob.userID, 1)
	newer.untilMessages(1)
	newer.contiguous(0)
	w.areServed()
}

// What is written and not acknowledged comes again, unless the device says that it has
// it.
func anEntryOnItsWay(s *scene) {
	w := s.talk()
	phone := w.phone()
	s.arm()
	conn, _ := s.enter(phone)
	w.firstByHTTP()
	s.died(s.row.place)
	for err := error(nil); err == nil; {
		_, err = conn.next()
	}
	s.mend()
	again, reply := s.enter(phone)
	if reply.GetResumeFrom() != 0 {
		s.t.Errorf("resumes from %d, which was never acknowledged", reply.GetResumeFrom())
	}
	again.untilMessages(1)
	last := int64(len(conn.entries))
	phone.LastSeq = &last
	conn, _ = s.enter(phone)
	w.connect()
	w.alice.say(w.bob.userID, 1)
	conn.untilMessages(2 - int(last))
	conn.contiguous(last)
	w.areServed()
}

// An ack that is answered by nobody: what it was for comes again, or does not, and
// nothing is skipped.
func anAck(s *scene) {
	w := s.talk()
	phone := w.phone()
	w.firstByHTTP()
	w.inInbox(1)
	s.arm()
	conn, _ := s.enter(phone)
	conn.untilMessages(1)
	conn.send(wire.OpAck, &imv1.Ack{Seq: 1})
	s.dies()
	conn, reply := s.enter(phone)
	if reply.GetResumeFrom() > 1 {
		s.t.Errorf("resumes from %d, acknowledged was 1", reply.GetResumeFrom())
	}
	conn.untilMessages(1 - int(reply.GetResumeFrom()))
	conn.contiguous(reply.GetResumeFrom())
	if got := conn.ack(1); got != 1 {
		s.t.Errorf("the cursor in force is %d, want 1", got)
	}
	w.areServed()
}

// An ack by HTTP is answered when it is stored, so it may be stored and not answered;
// answered and not stored it never is.
func aDurableAck(s *scene) {
	w := s.talk()
	phone := w.phone()
	w.firstByHTTP()
	epoch := w.inInbox(1)
	s.arm()
	api := s.api().WithToken(phone.Token)
	s.diesOf(s.row.place, func(ctx context.Context) {
		api.AckInbox(ctx, 1, epoch) //nolint:errcheck // the server dies of it
	})
	s.mend()
	if _, err := again(s.t, func() (int64, error) { return api.AckInbox(s.t.Context(), 1, epoch) }); err != nil {
		s.t.Fatal(err)
	}
	if _, reply := s.enter(phone); reply.GetResumeFrom() != 1 {
		s.t.Errorf("resumes from %d, want 1", reply.GetResumeFrom())
	}
	w.areServed()
}

// A read whose server dies: its mark and its receipts come, and once each.
func aRead(s *scene) {
	w := s.talk()
	w.connect()
	w.alice.say(w.bob.userID, 1)
	w.bob.untilMessages(1)
	w.alice.until("being told of the delivery", func() bool { return len(w.alice.receipts) > 0 })
	s.arm()
	conversation := im.DirectConversation(w.alice.userID, w.bob.userID)
	read := func(ctx context.Context) (*imv1.ReadReply, error) {
		return w.api(w.bob).ReadConversation(ctx, conversation, 1)
	}
	s.diesOf(s.row.place, func(ctx context.Context) {
		read(ctx) //nolint:errcheck // the server dies of it
	})
	s.mend()
	reply, err := again(s.t, func() (*imv1.ReadReply, error) { return read(s.t.Context()) })
	if err != nil || reply.GetUpto() != 1 || reply.GetUnread() != 0 {
		s.t.Errorf("read up to %d, %d unread, %v", reply.GetUpto(), reply.GetUnread(), err)
	}
	for _, d := range []*device{w.alice, w.bob} {
		d.until("the receipt", func() bool { return d.reads(w.bob.userID, 1) > 0 })
	}
	if got := hasRead(s.t, w.api(w.bob)); len(got) != 1 || got[0] != 1 {
		s.t.Errorf("the inbox shows %v as read", got)
	}
	w.areServed()
	for _, d := range []*device{w.alice, w.bob} {
		if n := d.reads(w.bob.userID, 1); n != 1 {
			s.t.Errorf("%s was told %d times", d.id, n)
		}
	}
}

// reads counts the receipts that say that a user has read up to a seq.
func (d *device) reads(userID string, upto int64) (n int) {
	for _, r := range d.receipts {
		if r.GetKind() == "read" && r.GetUserId() == userID && r.GetUpto() == upto {
			n++
		}
	}
	return n
}

// Retention does what it does to an inbox whole or not at all.
func whatIsTooOld(s *scene) {
	w := s.talk()
	w.goOn(1)
	w.bob.close()
	for range 5 { // a block each
		w.alice.say(w.bob.userID, 1)
		w.alice.untilAcked()
	}
	s.armAt(s.row.place, 1, "IM_RETENTION_INBOX=1s")
	s.dies() // what takes its place keeps inboxes for longer
	w.bob.connect()
	w.bob.untilMessages(w.sent())
	if w.bob.overs > 0 {
		s.t.Error("bob was told to start over, though nothing is gone")
	}
	w.areServed()
}
