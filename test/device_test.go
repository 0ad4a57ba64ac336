package test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// recording is what the devices of a story saw, for the judge.
type recording struct {
	t       *testing.T
	server  *server
	history *check.History
	began   time.Time
	devices []*device
}

func record(t *testing.T, s *server) *recording {
	return &recording{t: t, server: s, history: check.NewHistory(), began: time.Now()}
}

// device is one device of a user on the SDK. What it sends and receives is
// recorded, over all of its sessions.
type device struct {
	client.NopHandler
	*recording
	userID, id string
	config     client.Config
	client     *client.Client
	judged     *check.Device

	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	arrivals *check.Log
	sends    *check.Log
	numbers  uint32
	before   map[string]uint32 // by receiver, the number of the last message
	of       map[string]uint32 // by client_msg_id
	sessions int
	overs    int // StartOvers
	ends     []client.Disconnected
	tokens   []client.Tokens
	acked    int
	last     int64 // inbox seq
	ceiling  int64 // not 0: what is above it is not recorded
	messages []*imv1.Message
	receipts []*imv1.Receipt
}

// device makes a client and connects it. change may be nil.
func (r *recording) device(userID, id, platform string, change func(*client.Config)) *device {
	r.t.Helper()
	d := r.offline(userID, id, platform, change)
	d.connect()
	return d
}

// offline makes a device that is not connected.
func (r *recording) offline(userID, id, platform string, change func(*client.Config)) *device {
	r.t.Helper()
	judged := r.history.Device(userID, id)
	d := &device{
		recording: r, userID: userID, id: id, judged: judged, arrivals: judged.Log(), sends: judged.Log(),
		changed: make(chan struct{}), before: map[string]uint32{}, of: map[string]uint32{},
	}
	d.config = client.Config{
		Server: r.server.http, DeviceID: id, Platform: platform,
		Handler: d, State: &client.MemoryState{}, HTTPClient: r.server.web,
		MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond, AckDelay: 5 * time.Millisecond,
		Hooks: client.Hooks{OnConnect: d.onConnect, OnDisconnect: d.onDisconnect, OnSent: d.onSent, OnTokens: d.onTokens},
	}
	if change != nil {
		change(&d.config)
	}
	if d.config.Tokens.AccessToken == "" {
		d.config.Tokens = r.server.tokens(userID, id, platform)
	}
	r.devices = append(r.devices, d)
	r.t.Cleanup(d.close)
	return d
}

// textSocket speaks what a browser speaks.
func textSocket(c *client.Config) { c.Transport, c.Form = client.WebSocket, wire.Text }

// binaryTCP speaks protobuf over TCP.
func binaryTCP(c *client.Config) { c.Transport, c.Form = client.TCP, wire.Proto }

// connect begins, or goes on after close, with the state that was kept.
func (d *device) connect() {
	d.t.Helper()
	var err error
	if d.client, err = client.New(d.config); err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if err := d.client.Connect(ctx); err != nil {
		d.t.Fatalf("connect %s: %v", d.id, err)
	}
}

func (d *device) close() {
	if d.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.client.Close(ctx); err != nil {
		d.t.Errorf("close %s: %v", d.id, err)
	}
	d.client = nil
}

// say sends n messages, one after the other, without waiting for answers.
func (d *device) say(to string, n int) {
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	for range n {
		id, words := d.next(to)
		_, err := d.client.SendAsync(ctx, client.ToUser(to), client.TextContent(words), client.SendOptions{ClientMsgID: id})
		if err != nil {
			d.t.Errorf("send %s: %v", id, err)
			return
		}
	}
}

// next records that the device sends its next message, and returns what that is.
func (d *device) next(to string) (id, words string) {
	conversation := d.history.Direct(d.userID, to)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.numbers++
	number := d.numbers
	words = fmt.Sprintf("#%d:%d hello", d.judged.Ref(), number)
	id = fmt.Sprintf("%s-%d", d.id, number)
	d.of[id] = number
	d.sends.Sent(check.Sent{
		At: time.Since(d.began), Number: number, Conversation: conversation, After: d.before[to], Named: true,
		Hash: check.Hash(d.userID, []byte(words)),
	})
	d.before[to] = number
	return id, words
}

// note wakes who waits for a change. The caller holds mu.
func (d *device) note() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// until waits for something that mu guards.
func (d *device) until(what string, is func() bool) {
	d.t.Helper()
	timeout := time.After(patience)
	for {
		d.mu.Lock()
		done, changed := is(), d.changed
		state := fmt.Sprintf("%d sessions, %d sent, %d acknowledged, %d messages, last inbox seq %d, ends %v",
			d.sessions, d.numbers, d.acked, len(d.messages), d.last, d.ends)
		d.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			d.t.Fatalf("%s waits for: %s (%s)", d.id, what, state)
		}
	}
}

func (d *device) untilMessages(n int) {
	d.t.Helper()
	d.until(fmt.Sprint(n, " messages"), func() bool { return len(d.messages) >= n })
}

// untilAcked waits until all that was sent is acknowledged.
func (d *device) untilAcked() {
	d.t.Helper()
	d.until("all sends acknowledged", func() bool { return d.acked >= int(d.numbers) })
}

func (d *device) onConnect(s client.Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sessions == 0 { // later ones go on in the SDK's one stream of entries
		d.arrivals.Resumed(check.Resume{At: time.Since(d.began), From: s.ResumeFrom, Head: s.Head, TooLong: s.TooLong})
	}
	d.sessions++
	d.note()
}

func (d *device) onDisconnect(end client.Disconnected) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ends = append(d.ends, end)
	d.note()
}

func (d *device) onTokens(tokens client.Tokens) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tokens = append(d.tokens, tokens)
	d.note()
}

func (d *device) onSent(id string, ack client.Ack, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := time.Since(d.began)
	if err != nil {
		d.t.Errorf("send %s: %v", id, err)
		d.sends.Refused(at, d.of[id], im.AsError(err).Code)
		return
	}
	d.sends.Acked(check.Answer{
		At: at, Number: d.of[id], MessageID: ack.MessageID, Conversation: d.history.Conversation(ack.ConversationID),
		ConversationSeq: ack.ConversationSeq, Duplicate: ack.Duplicate,
	})
	d.acked++
	d.note()
}

// Entry records an inbox entry.
func (d *device) Entry(_ context.Context, e *imv1.Entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ceiling > 0 && e.GetSeq() > d.ceiling {
		return nil
	}
	at := time.Since(d.began)
	d.last = e.GetSeq()
	switch {
	case e.GetMessage() != nil:
		m := e.GetMessage()
		text := m.GetContent().GetText()
		var key check.Key
		if _, err := fmt.Sscanf(text, "#%d:%d", &key.Device, &key.Number); err != nil {
			d.t.Errorf("%s received %q, which nobody sent", d.id, text)
		}
		d.arrivals.Arrived(check.Arrival{
			At: at, Seq: e.GetSeq(), MessageID: m.GetMessageId(), Conversation: d.history.Conversation(m.GetConversationId()),
			ConversationSeq: m.GetConversationSeq(), Key: key, Hash: check.Hash(m.GetSenderId(), []byte(text)),
		})
		d.messages = append(d.messages, m)
	case e.GetReceipt() != nil:
		r := e.GetReceipt()
		d.arrivals.Receipt(at, e.GetSeq(), d.history.Conversation(r.GetConversationId()), r.GetUserId(), r.GetKind() == "delivered", r.GetUpto())
		d.receipts = append(d.receipts, r)
	default:
		d.arrivals.Entry(at, e.GetSeq(), 0)
	}
	d.note()
	return nil
}

// judge waits until every device has caught up with the others of its user and
// has the verdict on what was recorded; it ends the devices.
func (r *recording) judge() check.Verdict {
	r.t.Helper()
	r.freeze()
	for _, d := range r.devices {
		d.until(fmt.Sprint("inbox seq ", d.ceiling), func() bool { return d.last >= d.ceiling })
	}
	for _, d := range r.devices {
		d.close()
		d.judged.CaughtUp()
	}
	verdict := check.Judge(r.history)
	if !verdict.OK() {
		verdict.WriteText(r.t.Output()) //nolint:errcheck // the test's own log
		r.t.Fail()
	}
	return verdict
}

// freeze makes what has been received by now the end of the record: receipts may
// go on for a while.
func (r *recording) freeze() {
	tops := map[string]int64{}
	for _, d := range r.devices {
		d.mu.Lock()
		tops[d.userID] = max(tops[d.userID], d.last)
	}
	for _, d := range r.devices {
		d.ceiling = tops[d.userID]
		d.mu.Unlock()
	}
}
