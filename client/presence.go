package client

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// Watch says whose presence the application wants to know: the whole set, at most
// im.MaxWatched users, none to end it. It returns how they are, in the order of their ids;
// whom one shares no conversation with looks offline. Later changes, and how they are after
// a reconnect, come to the handler as signals; PresenceOf reads them. It waits for a
// session and tries again as Read does.
func (c *Client) Watch(ctx context.Context, userIDs ...string) ([]*imv1.Presence, error) {
	watch := &imv1.Watch{UserIds: userIDs}
	c.mu.Lock()
	former := c.watched
	c.watched = watch // before it is asked for: else a session that begins with the answer would not watch
	c.mu.Unlock()
	var reply imv1.WatchReply
	if err := c.ask(ctx, wire.OpWatch, watch, wire.OpWatchReply, &reply); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.watched == watch {
			c.watched = former
		}
		return nil, err
	}
	return reply.GetPresences(), nil
}

// watchAgain has a new session watch what the one before did. The caller holds mu.
func (c *Client) watchAgain(l *link) {
	if len(c.watched.GetUserIds()) > 0 {
		l.rewatch = l.next()
		l.control = append(l.control, control{wire.OpWatch, l.rewatch, c.watched})
	}
}

// watchRefused asks again after a pause. The caller holds mu.
func (l *link) watchRefused(refusal *im.Error) {
	c := l.client
	l.rewatch = 0
	if refusal.Code.Final() { // it was not when it was asked for first
		c.config.Logger.Warn("nobody is watched any more", "error", refusal)
		return
	}
	time.AfterFunc(max(refusal.RetryAfter, time.Second), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.link == l {
			c.watchAgain(l)
			l.wakeUp()
		}
	})
}

// watchReply gives the answer to the call that waits for it, or, where that is the session's
// own, to the handler.
func (l *link) watchReply(frame wire.Frame) error {
	c := l.client
	c.mu.Lock()
	_, asked := l.calls[frame.Seq]
	c.mu.Unlock()
	if asked {
		return l.answer(frame)
	}
	return with(frame, &imv1.WatchReply{}, func(reply *imv1.WatchReply) error {
		c.mu.Lock()
		l.rewatch = 0
		for _, p := range reply.GetPresences() {
			c.in.signal(signalOf(p))
		}
		c.mu.Unlock()
		signal(c.entries)
		return nil
	})
}

// signalOf is a presence as the server signals it.
func signalOf(p *imv1.Presence) *imv1.Signal {
	fields := map[string]*structpb.Value{
		"user_id": structpb.NewStringValue(p.GetUserId()), "online": structpb.NewBoolValue(p.GetOnline()),
		"last_seen_ms": structpb.NewStringValue(strconv.FormatInt(p.GetLastSeenMs(), 10)),
	}
	platforms := &structpb.ListValue{}
	for _, platform := range p.GetPlatforms() {
		platforms.Values = append(platforms.Values, structpb.NewStringValue(platform))
	}
	fields["platforms"] = structpb.NewListValue(platforms)
	return &imv1.Signal{Type: "presence", Data: &structpb.Struct{Fields: fields}}
}

// PresenceOf reads a signal of type presence; nil of any other.
func PresenceOf(s *imv1.Signal) *imv1.Presence {
	fields := s.GetData().GetFields()
	if s.GetType() != "presence" || fields["user_id"].GetStringValue() == "" {
		return nil
	}
	p := &imv1.Presence{UserId: fields["user_id"].GetStringValue(), Online: fields["online"].GetBoolValue()}
	p.LastSeenMs, _ = strconv.ParseInt(fields["last_seen_ms"].GetStringValue(), 10, 64) // 0 where it is left out
	for _, platform := range fields["platforms"].GetListValue().GetValues() {
		p.Platforms = append(p.Platforms, platform.GetStringValue())
	}
	return p
}

// ReadOf reads a signal of type read, by which a group's members are told how far one of
// them has read; ok is false of any other.
func ReadOf(s *imv1.Signal) (mark ReadMark, ok bool) {
	if s.GetType() != "read" {
		return mark, false
	}
	upto, err := strconv.ParseInt(s.GetData().GetFields()["upto"].GetStringValue(), 10, 64)
	return ReadMark{UserID: s.GetFrom().GetUserId(), Upto: upto}, err == nil
}
