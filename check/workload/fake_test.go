package workload

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// breach is the promise that a fake breaks: at every tenth message, or whenever it
// can.
type breach string

const (
	nothing    breach = ""
	loses      breach = "loses a message for one of its receivers"
	doubles    breach = "delivers a message twice"
	reorders   breach = "delivers two messages in the wrong order"
	skips      breach = "skips an entry in a session"
	swaps      breach = "shows one device another entry"
	alters     breach = "alters a text"
	storesAnew breach = "stores a retry as another message"
	renumbers  breach = "answers a retry with another id"
	lowersAck  breach = "answers an ack with a lower cursor"
	jumps      breach = "resumes above the cursor"
	boasts     breach = "says that more was read than was delivered"
	lowersRead breach = "answers a read with a lower mark"
	denies     breach = "refuses for good what it stores"
	ignores    breach = "answers nothing"
	hides      breach = "hides an entry from HTTP"
	closes     breach = "lets nobody in at the end"
	leaks      breach = "delivers to who went out of a group"
	silences   breach = "tells nobody who came into a group"
	excludes   breach = "tells a new member of a group nothing"
)

// fake is an IM server in memory that speaks TCP and HTTP, as far as a workload needs
// it, and breaks one promise. All of it is under mu.
type fake struct {
	breach breach
	web    *httptest.Server
	tcp    net.Listener
	group  sync.WaitGroup

	mu       sync.Mutex
	inboxes  map[string][]*imv1.Entry // by user
	cursors  map[string]int64         // by token
	reads    map[string]int64         // by user and conversation
	stored   map[string]*imv1.SendAck // by token and client id
	heads    map[string]int64         // by conversation
	held     map[string]*imv1.Message // by user, to be delivered behind the next one
	sessions map[*fakeSession]bool
	ignored  map[string]bool            // by the key of stored
	groups   map[string]map[string]bool // by conversation: who is in
	told     map[string]map[string]bool // and who is delivered to
	messages map[int64]*imv1.Message    // as they are shown now, by id
	seen     map[int64][]string         // who has got them
	versions map[int64]int32            // edits so far
	shut     bool
	count    int // messages
	id       int64
}

// fakeSession is one connection; the token is "user|device".
type fakeSession struct {
	fake  *fake
	conn  net.Conn
	form  wire.Form
	token string
	out   []byte
	more  chan struct{} // 1
	next  int64         // seq
}

func newFake(t *testing.T, b breach) *fake {
	f := &fake{
		breach: b, inboxes: map[string][]*imv1.Entry{}, cursors: map[string]int64{}, reads: map[string]int64{},
		stored: map[string]*imv1.SendAck{}, ignored: map[string]bool{}, groups: map[string]map[string]bool{}, told: map[string]map[string]bool{}, heads: map[string]int64{}, held: map[string]*imv1.Message{},
		messages: map[int64]*imv1.Message{}, seen: map[int64][]string{}, versions: map[int64]int32{}, sessions: map[*fakeSession]bool{},
	}
	var err error
	if f.tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	f.group.Go(f.accept)
	f.web = httptest.NewServer(f.routes())
	t.Cleanup(f.close)
	return f
}

func (f *fake) close() {
	f.web.Close()
	f.tcp.Close()
	f.mu.Lock()
	for s := range f.sessions {
		s.conn.Close()
	}
	f.mu.Unlock()
	f.group.Wait()
}

func (f *fake) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/gateway", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.shut {
			answer(w, http.StatusServiceUnavailable, map[string]string{"code": "unavailable"})
			return
		}
		answer(w, http.StatusOK, map[string]string{"server_id": "s", "url": "tcp://" + f.tcp.Addr().String()})
	})
	mux.HandleFunc("POST /v1/service/users", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Users []struct{ Username string } }
		must(json.NewDecoder(r.Body).Decode(&body))
		var users []map[string]string
		for _, u := range body.Users {
			users = append(users, map[string]string{"user_id": u.Username, "username": u.Username})
		}
		answer(w, http.StatusOK, map[string]any{"users": users})
	})
	tokens := func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			UserID   string `json:"user_id"`
			DeviceID string `json:"device_id"`
			Refresh  string `json:"refresh_token"`
		}
		must(json.NewDecoder(r.Body).Decode(&body))
		if body.Refresh == "" {
			body.Refresh = body.UserID + "|" + body.DeviceID
		}
		answer(w, http.StatusOK, map[string]string{"access_token": body.Refresh, "refresh_token": body.Refresh})
	}
	mux.HandleFunc("POST /v1/service/tokens", tokens)
	mux.HandleFunc("POST /v1/sessions/refresh", tokens)
	mux.HandleFunc("POST /v1/messages", func(w http.ResponseWriter, r *http.Request) {
		var send imv1.Send
		body, err := io.ReadAll(r.Body)
		must(err)
		must(protojson.Unmarshal(body, &send))
		f.mu.Lock()
		defer f.mu.Unlock()
		ack, code := f.send(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), &send)
		if ack == nil {
			answer(w, code.Status(), map[string]string{"code": string(code)})
			return
		}
		answer(w, http.StatusOK, ack)
	})
	f.alterRoutes(mux)
	mux.HandleFunc("GET /v1/inbox", f.inbox)
	mux.HandleFunc("POST /v1/groups", f.createGroup)
	mux.HandleFunc("POST /v1/groups/{id}/members", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			UserIDs []string `json:"user_ids"`
		}
		must(json.NewDecoder(r.Body).Decode(&body))
		f.changeMember(r.PathValue("id"), body.UserIDs[0], im.ActionJoined)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /v1/groups/{id}/members/{user}", func(w http.ResponseWriter, r *http.Request) {
		f.changeMember(r.PathValue("id"), r.PathValue("user"), im.ActionRemoved)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func (f *fake) createGroup(w http.ResponseWriter, r *http.Request) {
	var body struct {
		MemberIDs []string `json:"member_ids"`
	}
	must(json.NewDecoder(r.Body).Decode(&body))
	owner, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "|")
	f.mu.Lock()
	defer f.mu.Unlock()
	group := strconv.Itoa(len(f.groups))
	conversation := im.GroupConversation(group)
	f.groups[conversation], f.told[conversation] = map[string]bool{owner: true}, map[string]bool{owner: true}
	for _, member := range body.MemberIDs {
		f.groups[conversation][member], f.told[conversation][member] = true, true
	}
	f.event(conversation, &imv1.Membership{Action: string(im.ActionCreated)})
	answer(w, http.StatusCreated, map[string]string{"group_id": group, "conversation_id": conversation})
}

func (f *fake) changeMember(group, user string, action im.Action) {
	f.mu.Lock()
	defer f.mu.Unlock()
	conversation := im.GroupConversation(group)
	if joined := action == im.ActionJoined; joined {
		f.groups[conversation][user], f.told[conversation][user] = true, f.breach != excludes
	}
	if f.breach != silences || action != im.ActionJoined {
		f.event(conversation, &imv1.Membership{Action: string(action), UserIds: []string{user}})
	}
	if action == im.ActionRemoved {
		delete(f.groups[conversation], user)
		if f.breach != leaks {
			delete(f.told[conversation], user)
		}
	}
}

// event puts a membership entry into the inboxes of a group.
func (f *fake) event(conversation string, m *imv1.Membership) {
	f.heads[conversation]++
	m.ConversationId, m.ConversationSeq = conversation, f.heads[conversation]
	for user, told := range f.told[conversation] {
		if told {
			f.put(user, &imv1.Entry{Kind: string(im.KindMembership), Membership: m})
		}
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	text, err := json.Marshal(body)
	if message, is := body.(proto.Message); is {
		text, err = protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	}
	must(err)
	w.Write(text) //nolint:errcheck // the client tells
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (f *fake) inbox(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	user, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "|")
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	must(err)
	all := f.inboxes[user]
	if f.breach == hides {
		all = all[:len(all)-1]
	}
	page := all[after:min(len(all), after+50)]
	answer(w, http.StatusOK, &imv1.SyncReply{
		Entries: page, Head: int64(len(all)), HasMore: after+len(page) < len(all), InboxEpoch: "e",
	})
}

func (f *fake) accept() {
	for {
		conn, err := f.tcp.Accept()
		if err != nil {
			return
		}
		s := &fakeSession{fake: f, conn: conn, more: make(chan struct{}, 1)}
		f.mu.Lock()
		f.sessions[s] = true
		f.mu.Unlock()
		f.group.Go(s.serve)
	}
}

func (s *fakeSession) serve() {
	done := make(chan struct{})
	s.fake.group.Go(func() { s.write(done) })
	reader := bufio.NewReader(s.conn)
	for {
		head, err := reader.Peek(4)
		if err != nil {
			break
		}
		data := make([]byte, binary.BigEndian.Uint32(head))
		if _, err := io.ReadFull(reader, data); err != nil {
			break
		}
		frame, _, err := wire.Split(data, im.MaxClientFrameBytes)
		must(err)
		s.frame(frame)
	}
	s.fake.mu.Lock()
	delete(s.fake.sessions, s)
	s.fake.mu.Unlock()
	close(done)
	s.conn.Close()
}

func (s *fakeSession) write(done chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-s.more:
		}
		s.fake.mu.Lock()
		out := s.out
		s.out = nil
		s.fake.mu.Unlock()
		if _, err := s.conn.Write(out); err != nil {
			return
		}
	}
}

func (s *fakeSession) put(op wire.Op, sequence int32, body wire.Body) {
	var err error
	s.out, err = wire.AppendMessage(s.out, s.form, op, sequence, body)
	must(err)
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *fakeSession) frame(frame wire.Frame) {
	f := s.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	s.form = frame.Form
	body := func(m proto.Message) { must(wire.Unmarshal(frame.Form, frame.Body, m)) }
	switch frame.Op {
	case wire.OpAuth:
		var auth imv1.Auth
		body(&auth)
		s.auth(frame.Seq, &auth)
	case wire.OpSend:
		var send imv1.Send
		body(&send)
		if ack, code := f.send(s.token, &send); ack != nil {
			s.put(wire.OpSendAck, frame.Seq, ack)
		} else if code != "" {
			s.put(wire.OpError, frame.Seq, &imv1.Error{Code: string(code), RetryAfterMs: 1})
		}
	case wire.OpAck:
		var ack imv1.Ack
		body(&ack)
		f.cursors[s.token] = max(f.cursors[s.token], ack.GetSeq())
		inForce := f.cursors[s.token]
		if f.breach == lowersAck {
			inForce--
		}
		s.put(wire.OpAckReply, frame.Seq, &imv1.AckReply{Seq: inForce})
	case wire.OpRead:
		var read imv1.Read
		body(&read)
		key := s.user() + read.GetConversationId()
		f.reads[key] = max(f.reads[key], read.GetUpto())
		inForce := f.reads[key]
		if f.breach == lowersRead {
			inForce--
		}
		s.put(wire.OpReadReply, frame.Seq, &imv1.ReadReply{ConversationId: read.GetConversationId(), Upto: inForce})
		f.receipt(s.user(), read.GetConversationId())
	case wire.OpHeartbeat:
		s.put(wire.OpHeartbeatReply, frame.Seq, &imv1.HeartbeatReply{Head: int64(len(f.inboxes[s.user()]))})
	}
}

// receipt tells the members of a direct conversation how far one of them has read.
func (f *fake) receipt(reader, conversation string) {
	if f.groups[conversation] != nil {
		return
	}
	receipt := &imv1.Receipt{ConversationId: conversation, UserId: reader, Kind: "read", Upto: f.reads[reader+conversation]}
	if f.breach == boasts {
		receipt.Upto += 1000
	}
	for user := range f.inboxes {
		if user == reader || im.DirectConversation(user, reader) == conversation {
			f.put(user, &imv1.Entry{Kind: string(im.KindReceipt), Receipt: receipt})
		}
	}
}

func (s *fakeSession) user() string {
	user, _, _ := strings.Cut(s.token, "|")
	return user
}

func (s *fakeSession) auth(sequence int32, auth *imv1.Auth) {
	if s.token != "" { // a renewal
		return
	}
	s.token = auth.GetToken()
	from := s.fake.cursors[s.token]
	if auth.LastSeq != nil {
		from = auth.GetLastSeq()
	} else if s.fake.breach == jumps && from > 0 {
		from++
	}
	head := int64(len(s.fake.inboxes[s.user()]))
	s.next = min(from, head) + 1
	s.put(wire.OpAuthReply, sequence, &imv1.AuthReply{
		UserId: s.user(), Head: head, ResumeFrom: s.next - 1, InboxEpoch: "e", HeartbeatSeconds: 1, Window: 256,
	})
	s.deliver()
}

// deliver sends what is new in the inbox.
func (s *fakeSession) deliver() {
	inbox := s.fake.inboxes[s.user()]
	for ; s.next <= int64(len(inbox)); s.next++ {
		entry := inbox[s.next-1]
		if s.fake.breach == skips && s.next%10 == 0 {
			continue
		}
		if s.fake.breach == swaps && s.next%10 == 0 && strings.HasSuffix(s.token, platforms[0]) {
			entry = proto.CloneOf(inbox[s.next-2])
			entry.Seq = s.next
		}
		s.put(wire.OpDeliver, 0, &imv1.Deliver{Entries: []*imv1.Entry{entry}})
	}
}

// send is the whole pipeline. Neither an ack nor a code is no answer.
func (f *fake) send(token string, send *imv1.Send) (*imv1.SendAck, im.Code) {
	key := token + "|" + send.GetClientMsgId()
	if ack := f.stored[key]; ack != nil && f.breach != storesAnew {
		again := proto.CloneOf(ack)
		again.Duplicate = true
		if f.breach == renumbers {
			again.MessageId += 1000
		}
		return again, ""
	}
	if send.GetAfter() != "" && f.stored[token+"|"+send.GetAfter()] == nil {
		return nil, im.OutOfOrder
	}
	f.count++
	hit := f.breach
	if f.count%10 != 0 {
		hit = nothing
	}
	if hit == ignores {
		f.ignored[key] = true
	}
	if f.ignored[key] { // also when it comes again
		return nil, ""
	}
	user, _, _ := strings.Cut(token, "|")
	conversation := im.DirectConversation(user, send.GetTo().GetUserId())
	others := map[string]bool{send.GetTo().GetUserId(): true}
	if group := send.GetTo().GetGroupId(); group != "" {
		conversation = im.GroupConversation(group)
		others = f.told[conversation]
	}
	f.id++
	f.heads[conversation]++
	m := &imv1.Message{
		MessageId: f.id, ConversationId: conversation, ConversationSeq: f.heads[conversation], SenderId: user, Content: send.GetContent(),
	}
	ack := &imv1.SendAck{ClientMsgId: send.GetClientMsgId(), MessageId: f.id, ConversationId: conversation, ConversationSeq: m.ConversationSeq}
	f.stored[key] = ack
	f.messages[f.id], f.seen[f.id] = m, []string{user}
	f.insert(user, m)
	for to, told := range others {
		if to != user && told {
			f.seen[f.id] = append(f.seen[f.id], to)
			f.insertBroken(to, m, hit)
		}
	}
	f.shut = f.shut || f.breach == closes && f.count > 100
	if hit == denies {
		return nil, im.Forbidden
	}
	return ack, ""
}

func (f *fake) insertBroken(user string, m *imv1.Message, hit breach) {
	before := f.held[user]
	delete(f.held, user)
	switch hit {
	case loses:
	case reorders:
		f.held[user] = m
	case alters:
		altered := proto.CloneOf(m)
		altered.Content.Text += "!"
		f.insert(user, altered)
	case doubles:
		f.insert(user, m)
		f.insert(user, m)
	default:
		f.insert(user, m)
	}
	if before != nil {
		f.insert(user, before)
	}
}

func (f *fake) insert(user string, m *imv1.Message) {
	f.put(user, &imv1.Entry{Kind: string(im.KindMessage), Message: m})
}

func (f *fake) put(user string, entry *imv1.Entry) {
	entry.Seq = int64(len(f.inboxes[user]) + 1)
	f.inboxes[user] = append(f.inboxes[user], entry)
	for s := range f.sessions {
		if s.user() == user {
			s.deliver()
		}
	}
}

// config is a short run on the fake. Where it leaves something outstanding for ever,
// the run's patience comes to an end.
func (f *fake) config() Config {
	patience := 30 * time.Second
	if f.breach == ignores || f.breach == lowersAck || f.breach == closes {
		patience = 3 * time.Second
	}
	return Config{
		Servers: []string{f.web.URL}, ServiceKey: "key", Users: 4, Devices: 2, Duration: time.Second, Rate: 300,
		Mishaps: 300 * time.Millisecond, Transport: TCP, Seed: 1, Quiet: 200 * time.Millisecond, Patience: patience,
	}
}
