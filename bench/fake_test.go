package bench

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// fault is what a fakeServer does to every nth message.
type fault string

const (
	none       fault = ""
	drop       fault = "drop"       // not put into the receiver's inbox
	repeat     fault = "repeat"     // put in twice
	swap       fault = "swap"       // put in behind the next one
	alter      fault = "alter"      // its text changed
	renumber   fault = "renumber"   // acknowledged with another id
	denied     fault = "denied"     // refused for good, but delivered
	unavailing fault = "unavailing" // refused for now, not stored: no violation
	cut        fault = "cut"        // connection closed before the ack: no violation
)

// fakeServer is an IM server in memory: accounts by the service API, direct
// messages over TCP and WebSocket, inboxes, dedupe, `after`. It can be told to
// break its promises.
type fakeServer struct {
	mu       sync.Mutex
	inboxes  map[string][]*imv1.Entry
	cursors  map[string]int64 // by user/device
	sessions map[string]map[*fakeSession]bool
	heads    map[string]int64
	stored   map[string]*imv1.SendAck // by sender/device/client id
	held     map[string]*imv1.Message // by receiver, waits for the next one (swap)
	rooms    map[string]*fakeRoom
	id       int64

	fault fault
	every int64 // the fault hits each message whose count divides by it
	count int64

	http      *httptest.Server
	listeners []net.Listener
	group     sync.WaitGroup
}

func newFakeServer(f fault, every int64) *fakeServer {
	s := &fakeServer{
		inboxes: map[string][]*imv1.Entry{}, cursors: map[string]int64{}, sessions: map[string]map[*fakeSession]bool{},
		heads: map[string]int64{}, stored: map[string]*imv1.SendAck{}, held: map[string]*imv1.Message{}, rooms: map[string]*fakeRoom{}, fault: f, every: every,
	}
	gateways := map[string]string{"tcp": s.listen(s.serveTCP), "websocket": s.listen(s.serveWebSocket)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/gateway", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		transport := r.URL.Query().Get("transport")
		scheme := map[string]string{"tcp": "tcp://%s", "websocket": "ws://%s/ws"}[transport]
		respond(w, map[string]string{"url": fmt.Sprintf(scheme, gateways[transport])})
	})
	mux.HandleFunc("POST /v1/service/users", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Users []struct{ Username string } }
		must(json.NewDecoder(r.Body).Decode(&body))
		users := []map[string]any{}
		for _, u := range body.Users {
			users = append(users, map[string]any{"user_id": "id-" + u.Username, "username": u.Username})
		}
		respond(w, map[string]any{"users": users})
	})
	mux.HandleFunc("POST /v1/service/tokens", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			UserID   string `json:"user_id"`
			DeviceID string `json:"device_id"`
		}
		must(json.NewDecoder(r.Body).Decode(&body))
		respond(w, map[string]any{"user_id": body.UserID, "access_token": body.UserID})
	})
	mux.HandleFunc("POST /v1/users", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Username string }
		must(json.NewDecoder(r.Body).Decode(&body))
		respond(w, map[string]string{"user_id": "id-" + body.Username})
	})
	mux.HandleFunc("POST /v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Username string }
		must(json.NewDecoder(r.Body).Decode(&body))
		respond(w, map[string]string{"user_id": "id-" + body.Username, "access_token": "id-" + body.Username})
	})
	mux.HandleFunc("POST /v1/rooms", s.createRoom)
	s.http = httptest.NewServer(mux)
	return s
}

func respond(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	must(json.NewEncoder(w).Encode(body))
}

func (s *fakeServer) listen(serve func(net.Conn)) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s.listeners = append(s.listeners, listener)
	s.group.Go(func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			s.group.Go(func() { serve(nc) })
		}
	})
	return listener.Addr().String()
}

func (s *fakeServer) close() {
	s.http.Close()
	for _, listener := range s.listeners {
		listener.Close()
	}
	s.mu.Lock()
	for _, sessions := range s.sessions {
		for session := range sessions {
			session.nc.Close()
		}
	}
	s.mu.Unlock()
	s.group.Wait()
}

// fakeSession is one connection. Everything but its reading is under the server's
// mu.
type fakeSession struct {
	server       *fakeServer
	nc           net.Conn
	form         wire.Form
	webSocket    bool
	user, device string
	out          []byte
	more         chan struct{}
}

func (s *fakeServer) serveTCP(nc net.Conn) {
	session := &fakeSession{server: s, nc: nc, more: make(chan struct{}, 1)}
	reader := bufio.NewReaderSize(nc, 64<<10)
	session.serve(func() ([]byte, error) { return readFrame(reader) })
}

func readFrame(reader *bufio.Reader) ([]byte, error) {
	head, err := reader.Peek(4)
	if err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(head))
	_, err = io.ReadFull(reader, frame)
	return frame, err
}

func (s *fakeServer) serveWebSocket(nc net.Conn) {
	session := &fakeSession{server: s, nc: nc, webSocket: true, more: make(chan struct{}, 1)}
	reader := bufio.NewReaderSize(nc, 64<<10)
	request, err := http.ReadRequest(reader)
	if err != nil {
		nc.Close()
		return
	}
	sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	session.serve(func() ([]byte, error) { return readMasked(reader) })
}

func readMasked(reader *bufio.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(reader, head[:]); err != nil {
		return nil, err
	}
	n := int(head[1] & 127)
	if n == 126 {
		var long [2]byte
		if _, err := io.ReadFull(reader, long[:]); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	data := make([]byte, 4+n)
	_, err := io.ReadFull(reader, data)
	for i := range data[4:] {
		data[4+i] ^= data[i%4]
	}
	return data[4:], err
}

func (c *fakeSession) serve(read func() ([]byte, error)) {
	done := make(chan struct{})
	c.server.group.Go(func() { c.write(done) })
	for {
		data, err := read()
		if err != nil || !c.message(data) {
			break
		}
	}
	c.server.mu.Lock()
	delete(c.server.sessions[c.user], c)
	for _, room := range c.server.rooms {
		delete(room.members, c)
	}
	c.server.mu.Unlock()
	close(done)
	c.nc.Close()
}

func (c *fakeSession) write(done chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-c.more:
		}
		c.server.mu.Lock()
		out := c.out
		c.out = nil
		c.server.mu.Unlock()
		if _, err := c.nc.Write(out); err != nil {
			return
		}
	}
}

// message handles one frame; false ends the session.
func (c *fakeSession) message(data []byte) bool {
	var f wire.Frame
	var err error
	if c.webSocket && data[0] == '{' {
		f, err = wire.ParseText(data)
	} else {
		f, _, err = wire.Split(data, im.MaxClientFrameBytes)
	}
	if err != nil {
		panic(err)
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.form = f.Form
	switch f.Op {
	case wire.OpAuth:
		c.auth(f)
	case wire.OpSend:
		send := new(imv1.Send)
		if f.Form == wire.Proto {
			must(send.UnmarshalVT(f.Body)) // faster
		} else {
			must(wire.Unmarshal(f.Form, f.Body, send))
		}
		return c.send(f.Seq, send)
	case wire.OpJoin:
		c.join(f)
	case wire.OpAck:
		var ack imv1.Ack
		must(wire.Unmarshal(f.Form, f.Body, &ack))
		key := c.user + "/" + c.device
		c.server.cursors[key] = max(c.server.cursors[key], ack.Seq)
	case wire.OpHeartbeat:
		c.put(wire.OpHeartbeatReply, f.Seq, &imv1.HeartbeatReply{Head: int64(len(c.server.inboxes[c.user]))})
	}
	return true
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (c *fakeSession) put(op wire.Op, seq int32, body wire.Body) {
	frame, err := wire.AppendMessage(nil, c.form, op, seq, body)
	must(err)
	if c.webSocket {
		c.out = append(c.out, 0x80|webSocketOpcode(c.form))
		switch n := len(frame); {
		case n < 126:
			c.out = append(c.out, byte(n))
		default:
			c.out = binary.BigEndian.AppendUint16(append(c.out, 126), uint16(n))
		}
	}
	c.out = append(c.out, frame...)
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *fakeSession) auth(f wire.Frame) {
	var auth imv1.Auth
	must(wire.Unmarshal(f.Form, f.Body, &auth))
	c.user, c.device = auth.Token, auth.DeviceId
	key, head := c.user+"/"+c.device, int64(len(c.server.inboxes[c.user]))
	from, known := c.server.cursors[key]
	if !known {
		from = head
		c.server.cursors[key] = head
	}
	if auth.LastSeq != nil {
		from = *auth.LastSeq
	}
	c.put(wire.OpAuthReply, f.Seq, &imv1.AuthReply{UserId: c.user, Head: head, ResumeFrom: from, HeartbeatSeconds: 1, Window: 256})
	for _, e := range c.server.inboxes[c.user][from:] {
		c.put(wire.OpDeliver, 0, &imv1.Deliver{Entries: []*imv1.Entry{e}})
	}
	if c.server.sessions[c.user] == nil {
		c.server.sessions[c.user] = map[*fakeSession]bool{}
	}
	c.server.sessions[c.user][c] = true
}

// send is the whole pipeline: dedupe, after, order, inboxes, the answer.
func (c *fakeSession) send(seq int32, send *imv1.Send) bool {
	s, to := c.server, send.To.GetUserId()
	key := c.user + "/" + c.device + "/"
	if ack := s.stored[key+send.ClientMsgId]; ack != nil {
		again := proto.CloneOf(ack)
		again.Duplicate = true
		c.put(wire.OpSendAck, seq, again)
		return true
	}
	if send.After != "" && s.stored[key+send.After] == nil {
		c.put(wire.OpError, seq, &imv1.Error{Code: string(im.OutOfOrder)})
		return true
	}
	if room := s.rooms[send.To.GetRoomId()]; room != nil {
		ack := c.say(room, send)
		s.stored[key+send.ClientMsgId] = ack
		c.put(wire.OpSendAck, seq, ack)
		return true
	}
	s.count++
	hit := none
	if s.every > 0 && s.count%s.every == 0 {
		hit = s.fault
	}
	if hit == unavailing {
		c.put(wire.OpError, seq, &imv1.Error{Code: string(im.Unavailable), RetryAfterMs: 1})
		return true
	}
	conversation := im.DirectConversation(c.user, to)
	s.id++
	s.heads[conversation]++
	m := &imv1.Message{
		MessageId: s.id, ConversationId: conversation, ConversationType: "direct", ConversationSeq: s.heads[conversation],
		SenderId: c.user, Content: send.Content, Version: 1,
	}
	ack := &imv1.SendAck{ClientMsgId: send.ClientMsgId, MessageId: s.id, ConversationId: conversation, ConversationSeq: m.ConversationSeq}
	s.stored[key+send.ClientMsgId] = ack
	s.insert(c.user, m)
	s.insertFaulty(to, m, hit)
	switch hit {
	case cut:
		return false
	case denied:
		c.put(wire.OpError, seq, &imv1.Error{Code: string(im.Forbidden)})
		return true
	case renumber:
		ack = proto.CloneOf(ack)
		ack.MessageId += 1000
	}
	c.put(wire.OpSendAck, seq, ack)
	return true
}

func (s *fakeServer) insertFaulty(user string, m *imv1.Message, hit fault) {
	before := s.held[user]
	delete(s.held, user)
	switch hit {
	case drop:
	case swap:
		s.held[user] = m
	case alter:
		altered := proto.CloneOf(m)
		altered.Content.Text = m.Content.Text[:tagBytes] + "altered"
		s.insert(user, altered)
	case repeat:
		s.insert(user, m)
		s.insert(user, m)
	default:
		s.insert(user, m)
	}
	if before != nil {
		s.insert(user, before)
	}
}

// insert puts a message into an inbox and sends it to the user's sessions.
func (s *fakeServer) insert(user string, m *imv1.Message) {
	e := &imv1.Entry{Seq: int64(len(s.inboxes[user]) + 1), Kind: string(im.KindMessage), Message: m}
	s.inboxes[user] = append(s.inboxes[user], e)
	for session := range s.sessions[user] {
		session.put(wire.OpDeliver, 0, &imv1.Deliver{Entries: []*imv1.Entry{e}})
	}
	if e.Seq%100 == 0 { // as real servers do, something else now and then
		receipt := &imv1.Entry{Seq: e.Seq + 1, Kind: string(im.KindReceipt), Receipt: &imv1.Receipt{
			ConversationId: m.ConversationId, UserId: user, Kind: "delivered", Upto: m.ConversationSeq,
		}}
		s.inboxes[user] = append(s.inboxes[user], receipt)
		for session := range s.sessions[user] {
			session.put(wire.OpDeliver, 0, &imv1.Deliver{Entries: []*imv1.Entry{receipt}})
		}
	}
}

func (s *fakeServer) config(mode Mode) Config {
	return Config{Mode: mode, Server: s.http.URL, ServiceKey: "key", Transport: TCP, Pairs: 4}
}

// inTest starts a server that is closed with the test.
func inTest(t testing.TB, f fault, every int64) *fakeServer {
	s := newFakeServer(f, every)
	t.Cleanup(s.close)
	return s
}
