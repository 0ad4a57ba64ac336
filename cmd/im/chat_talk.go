package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// askTimeout bounds a question to the HTTP API.
const askTimeout = 15 * time.Second

// talk is one logged-in user at the terminal.
type talk struct {
	who    identity
	client *client.Client
	view   *chatView
	out    io.Writer

	mu    sync.Mutex
	names map[string]string // user id -> user name; conversation id -> name of a group
	said  map[string]string // client_msg_id -> text, of this run
	peer  partner           // whom one talks to
	chose bool              // somebody has been chosen before
}

// newTalk makes a talk; start connects it.
func newTalk(options *chatOptions, who identity, out io.Writer, zone *time.Location) (*talk, error) {
	t := &talk{who: who, out: out, names: map[string]string{}, said: map[string]string{}}
	t.view = newChatView(who.tokens.UserID, who.device, func(id string) string {
		return t.nameOf(context.Background(), id)
	}, zone)
	t.view.group = func(id string) string { return t.groupName(context.Background(), id) }
	c, err := client.New(client.Config{
		Server: options.server, Tokens: who.tokens, DeviceID: who.device, Platform: options.platform,
		Transport: options.transport, Handler: t, State: client.NewFileState(options.statePath(who)),
		Name: "im-chat", Version: version(),
		Hooks: client.Hooks{
			OnConnect: t.onConnect, OnDisconnect: t.onDisconnect, OnSent: t.onSent, OnStateError: t.onStateError,
		},
	})
	t.client = c
	return t, err
}

func (t *talk) print(lines ...string) {
	for _, line := range lines {
		fmt.Fprintln(t.out, printable(line)) // whoever said a part of it
	}
}

// Entry shows an inbox entry.
func (t *talk) Entry(ctx context.Context, entry *imv1.Entry) error {
	if m := entry.GetMembership(); m.GetAction() == string(im.ActionJoined) || m.GetAction() == string(im.ActionChanged) {
		t.forgetGroup(m.GetConversationId()) // it may have another name, or one that can be asked for
	}
	message := entry.GetMessage()
	own := message.GetSenderId() == t.who.tokens.UserID && message.GetSenderDeviceId() == t.who.device
	t.mu.Lock()
	_, shown := t.said[message.GetClientMsgId()]
	t.mu.Unlock()
	t.print(t.view.entry(entry, own && shown)...)
	if message != nil && !own {
		t.firstPeer(ctx, message)
	}
	return nil
}

// firstPeer begins to talk to the first who says something, if one has not chosen
// anybody.
func (t *talk) firstPeer(ctx context.Context, message *imv1.Message) {
	if message.GetConversationType() != string(im.Direct) || message.GetSenderId() == t.who.tokens.UserID {
		return
	}
	t.mu.Lock()
	first := t.peer.nobody() && !t.chose // else a line that is half typed would be said to whoever writes
	t.mu.Unlock()
	if first {
		t.choose(partner{user: client.User{UserID: message.GetSenderId(), Username: t.nameOf(ctx, message.GetSenderId())}})
	}
}

// StartOver tells that something is missing.
func (t *talk) StartOver(context.Context, client.StartOver) error {
	t.print("-- you were away for longer than the server remembers; /list and /history show what there is")
	return nil
}

// Signal shows who is typing, who comes and goes, and who has read what.
func (t *talk) Signal(_ context.Context, signal *imv1.Signal) {
	if line := t.view.signal(signal); line != "" {
		t.print("-- " + line)
	}
}

func (t *talk) onConnect(session client.Session) {
	t.print(fmt.Sprintf("-- connected to %s as %s", session.Address, t.who.name))
}

func (t *talk) onDisconnect(d client.Disconnected) {
	if d.Final {
		t.print(fmt.Sprintf("-- signed off: %s", reason(d.Err)))
		return
	}
	t.print(fmt.Sprintf("-- %s; trying again in %s", reason(d.Err), d.RetryIn.Round(100*time.Millisecond)))
}

func (t *talk) onStateError(err error) {
	t.print(fmt.Sprintf("-- cannot remember where we are: %s", err))
}

func (t *talk) onSent(id string, ack client.Ack, err error) {
	t.mu.Lock()
	text, known := t.said[id]
	t.mu.Unlock()
	if !known {
		text = "(from last time)"
	}
	if err == nil && im.IsRoom(ack.ConversationID) {
		return // it comes back like what others say there
	}
	t.print(t.view.sent(text, ack, err))
}

// nameOf returns a user's name, asking the server once.
func (t *talk) nameOf(ctx context.Context, userID string) string {
	t.mu.Lock()
	name := t.names[userID]
	t.mu.Unlock()
	if name != "" {
		return name
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	user, err := t.client.API().User(ctx, userID)
	if err != nil || user.Username == "" {
		return userID
	}
	t.learn(user)
	return user.Username
}

func (t *talk) learn(user client.User) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names[user.UserID] = user.Username
}

func (t *talk) choose(peer partner) {
	t.mu.Lock()
	t.peer, t.chose = peer, true
	t.mu.Unlock()
	t.print("-- talking to " + printable(peer.name()))
}

var errNobody = errors.New("to whom? /to NAME")

func (t *talk) chosen() (partner, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peer.nobody() {
		return partner{}, errNobody
	}
	return t.peer, nil
}

// leave waits for the answers to what was said, for a while, and closes.
func (t *talk) leave(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // Ctrl-C ends the chat, not this
	flushing, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := t.client.Flush(flushing); err != nil {
		t.print("-- not everything was answered; it is sent again next time")
	}
	closing, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := t.client.Close(closing); err != nil {
		t.print("-- " + err.Error())
	}
}
