package workload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// Times of a session.
const (
	connectTimeout = 15 * time.Second // for a connection, and for the answer to auth
	beatEvery      = 5 * time.Second  // at most; what the server asks for may be longer
	beatPatience   = 10 * time.Second // for its reply
	drainBeat      = 500 * time.Millisecond
	leastPause     = 50 * time.Millisecond // before another attempt to connect; doubles
	mostPause      = time.Second
)

// waitingFrames bounds the frames that were read and wait for the device.
const waitingFrames = 64

// session is one connection of a device. A goroutine reads; the rest is the device's.
type session struct {
	conn   *client.Conn
	kind   string // transport and form, for the report
	server string
	frames chan wire.Frame // closed at the end
	err    error           // why it ended; valid then
	done   chan struct{}   // closed when nobody takes frames any more

	lastGiven *int64 // last_seq as auth gave it
	authBy    time.Time
	sequence  int32
	sends     map[int32]*message // frames that wait for an answer
	asks      map[int32]ask
	acked     int64 // highest seq acknowledged
	confirmed int64 // as ack_reply has it
	ackAt     time.Time
	head      int64 // the newest that the server told
	told      bool  // since the device drains
	heartbeat time.Duration
	beatAt    time.Time
	beatSince time.Time // of one without reply; zero: none
}

// ask is a request that is no send.
type ask struct {
	op           wire.Op
	conversation check.ConversationRef // read
	seq          int64                 // what was asked for
}

// connectDue makes a connection where one is wanted, and gives up one that is not
// welcomed.
func (d *device) connectDue(now time.Time) time.Time {
	if d.next != nil && !d.next.authBy.After(now) {
		d.lost(d.next, errors.New("auth was not answered"))
	}
	switch {
	case d.next != nil:
		return d.next.authBy
	case d.current != nil || d.dialling:
		return time.Time{}
	case d.dialAt.After(now):
		return d.dialAt
	}
	d.dial()
	return time.Time{}
}

// dial has a connection made beside, to a server that the gateway API names, by a
// transport and in a form that the dice choose.
func (d *device) dial() {
	d.dialling = true
	transport := d.run.config.Transport
	if transport == Mixed {
		transport = [...]string{WebSocket, TCP}[d.dice.IntN(2)]
	}
	forms := []wire.Form{wire.Proto, wire.JSON, wire.Text}
	if transport == TCP {
		forms = forms[:2]
	}
	form := forms[d.dice.IntN(len(forms))]
	tokens, fresh, failed, ctx := d.tokens, d.noToken, d.failed, d.work
	d.aside(func() func() {
		var err error
		if fresh {
			tokens, err = d.run.serviceTokens(ctx, d.user, d.id, d.platform)
		}
		var s *session
		if err == nil {
			s, err = d.run.open(ctx, tokens.AccessToken, transport, form, failed)
		}
		return func() { d.dialled(s, tokens, err) }
	})
}

var formNames = map[wire.Form]string{wire.Proto: "protobuf", wire.JSON: "json", wire.Text: "text"}

// open finds a server and connects to it.
func (r *run) open(ctx context.Context, token, transport string, form wire.Form, failed string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var exclude []string
	if failed != "" {
		exclude = []string{failed}
	}
	var gateway client.Gateway
	err := r.servers.call(ctx, token, func(ctx context.Context, api *client.API) (err error) {
		gateway, err = api.Gateway(ctx, transport, exclude)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for a %s server: %w", transport, err)
	}
	conn, err := client.Dial(ctx, gateway.URL, form)
	if err != nil {
		return nil, err
	}
	return &session{
		conn: conn, kind: transport + " " + formNames[form], server: gateway.ServerID,
		frames: make(chan wire.Frame, waitingFrames), done: make(chan struct{}),
		sends: map[int32]*message{}, asks: map[int32]ask{},
	}, nil
}

// dialled begins a session on a connection: auth is its first frame.
func (d *device) dialled(s *session, tokens client.Tokens, err error) {
	d.dialling = false
	if err != nil {
		d.pause(err)
		return
	}
	d.tokens, d.noToken = tokens, false
	d.beside.Go(s.read)
	if d.phase == part || d.next != nil || d.work.Err() != nil {
		d.drop(s, false)
		return
	}
	d.next, s.authBy = s, time.Now().Add(connectTimeout)
	auth := &imv1.Auth{
		Token: d.tokens.AccessToken, DeviceId: d.id, Platform: d.platform, InboxEpoch: d.epoch, Start: "oldest",
		Protocol: im.ProtocolVersion, Client: &imv1.ClientInfo{Name: "im check"},
	}
	if !d.forget && d.epoch != "" {
		last := d.last
		auth.LastSeq, s.lastGiven = &last, &last
	}
	d.write(s, wire.OpAuth, auth)
}

// read hands frames on until the connection ends.
func (s *session) read() {
	defer close(s.frames)
	for {
		frame, err := s.conn.Read()
		if err == nil && frame.Form != s.conn.Form() {
			err = errors.New("the server answered in another form")
		}
		if err != nil {
			s.err = err
			return
		}
		frame.Body = bytes.Clone(frame.Body)
		select {
		case s.frames <- frame:
		case <-s.done:
			return
		}
	}
}

// drop ends a session on our side, with or without a goodbye.
func (d *device) drop(s *session, reset bool) {
	if s == nil {
		return
	}
	close(s.done)
	if reset {
		s.conn.Reset()
	} else {
		s.conn.Close()
	}
}

// write writes a frame with the session's next sequence. A session that fails to is
// lost.
func (d *device) write(s *session, op wire.Op, body wire.Body) {
	s.sequence++
	if err := s.conn.Write(op, s.sequence, body); err != nil {
		d.lost(s, err)
	}
}

// lost ends a session that the device wanted to keep, unless it has ended already.
func (d *device) lost(s *session, err error) {
	switch s {
	case d.next:
		d.next = nil
	case d.current:
		d.current = nil
		if why := reason(err); d.next == nil || why != string(im.Superseded) { // else by its own doing
			d.tally.disconnects[why]++
		}
	default:
		return
	}
	d.failed = s.server
	d.drop(s, true)
	if d.current == nil {
		d.pause(err)
	}
}

// pause sets when the next attempt to have a session is made after one has failed.
func (d *device) pause(err error) {
	wait := min(mostPause, leastPause<<min(d.failures, 10))
	d.failures++
	var end *client.EndError
	var refusal *im.Error
	switch {
	case errors.As(err, &end):
		wait = max(wait, min(end.RetryAfter, mostPause))
		d.noToken = end.Code == im.TokenExpired || end.Code == im.Revoked || end.Code == im.DisconnectUnauthenticated
	case errors.As(err, &refusal):
		wait = max(wait, min(refusal.RetryAfter, mostPause))
		d.noToken = refusal.Code == im.Unauthenticated
	}
	d.dialAt = time.Now().Add(time.Duration((0.5 + d.dice.Float64()) * float64(wait)))
}

// reason says in short why a session ended.
func reason(err error) string {
	var end *client.EndError
	if errors.As(err, &end) {
		return string(end.Code)
	}
	return "connection lost"
}

// welcomed begins a session that the server has accepted; one that it takes the
// place of is over.
func (d *device) welcomed(s *session, reply *imv1.AuthReply) {
	d.drop(d.current, false)
	d.current, d.next, d.failures, d.forget = s, nil, 0, false
	now := d.run.now()
	resume := check.Resume{At: now, From: reply.GetResumeFrom(), Head: reply.GetHead(), TooLong: reply.GetTooLong()}
	if s.lastGiven != nil {
		resume.Last, resume.HasLast = *s.lastGiven, true
	}
	d.log.Resumed(resume)
	d.rise()
	d.tally.sessions[s.kind]++
	d.last, d.epoch, s.head = reply.GetResumeFrom(), reply.GetInboxEpoch(), reply.GetHead()
	s.heartbeat = min(beatEvery, max(time.Second, time.Duration(reply.GetHeartbeatSeconds())*time.Second))
	s.beatAt, s.ackAt = time.Now().Add(s.heartbeat), time.Now()
	if d.phase == drain {
		s.beatAt = time.Now()
	}
	d.resendAll()
	d.run.connected(d)
}

// rise notes that the device is there again after an absence of its own choice.
func (d *device) rise() {
	if d.absent {
		d.absent = false
		d.log.Awake(d.run.now())
	}
	if d.current != nil && !d.current.beatSince.IsZero() {
		d.current.beatSince = time.Now() // the reply may be among what was not read
	}
}

// beat asks for a sign of life, and ends a session that gives none.
func (d *device) beat(now time.Time) time.Time {
	s := d.current
	if !s.beatSince.IsZero() && !d.stalled.After(now) && now.Sub(s.beatSince) >= beatPatience {
		d.lost(s, errors.New("a heartbeat was not answered"))
		return time.Time{}
	}
	if s.beatAt.After(now) {
		return s.beatAt
	}
	s.beatAt = now.Add(s.heartbeat)
	if d.phase == drain {
		s.beatAt = now.Add(drainBeat)
	}
	if s.beatSince.IsZero() {
		s.beatSince = now
	}
	d.write(s, wire.OpHeartbeat, &imv1.Heartbeat{})
	return s.beatAt
}
