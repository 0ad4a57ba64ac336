package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// find returns the server to connect to: the one told, the one configured, or
// one that the gateway API names.
func (c *Client) find(next target) (target, error) {
	if (c.stale(time.Now()) || c.refreshUnsure()) && c.canRefresh() {
		if err := c.refresh(c.ctx); err != nil && judge(err).final {
			return target{}, err
		}
	}
	if next.url != "" {
		return next, nil
	}
	if c.config.URL != "" {
		return target{url: c.config.URL}, nil
	}
	gateway, err := c.API().Gateway(c.ctx, c.config.Transport, c.failed.recent(time.Now()))
	if err != nil {
		return target{}, fmt.Errorf("ask for a server: %w", err)
	}
	return target{serverID: gateway.ServerID, url: gateway.URL}, nil
}

// open dials and authenticates within DialTimeout.
func (c *Client) open(at target) (*link, *imv1.AuthReply, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.config.DialTimeout)
	defer cancel()
	conn, err := c.config.dial(ctx, at.url)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, conn.close)
	reply, err := c.authenticate(conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if known := c.Tokens().UserID; err == nil && known != "" && known != reply.GetUserId() {
		err = im.Errorf(im.Forbidden, "the token belongs to user %s, not to %s", reply.GetUserId(), known)
	}
	if err != nil {
		conn.close()
		return nil, nil, fmt.Errorf("authenticate at %s: %w", at.url, err)
	}
	heartbeat := time.Duration(reply.GetHeartbeatSeconds()) * time.Second
	if heartbeat <= 0 {
		heartbeat = 30 * time.Second
	}
	return newLink(c, conn, sessionOf(at, reply), heartbeat), reply, nil
}

func sessionOf(at target, reply *imv1.AuthReply) Session {
	return Session{
		ServerID: at.serverID, Address: at.url, UserID: reply.GetUserId(), SessionID: reply.GetSessionId(),
		Head: reply.GetHead(), ResumeFrom: reply.GetResumeFrom(), TooLong: reply.GetTooLong(),
		ServerVersion: reply.GetServerVersion(), Features: reply.GetFeatures(),
	}
}

func (c *Client) auth() *imv1.Auth {
	c.mu.Lock()
	defer c.mu.Unlock()
	auth := &imv1.Auth{
		Token: c.tokens.AccessToken, DeviceId: c.config.DeviceID, Platform: c.config.Platform,
		InboxEpoch: c.in.epoch, Start: c.config.Start, Protocol: im.ProtocolVersion,
		Client: &imv1.ClientInfo{Name: c.config.Name, Version: c.config.Version},
	}
	if c.in.known {
		last := c.in.received
		auth.LastSeq = &last
	}
	return auth
}

// authenticate writes auth and reads until it is answered.
func (c *Client) authenticate(conn conn) (*imv1.AuthReply, error) {
	var b batch
	if ok, err := b.add(c.config.Form, wire.OpAuth, 1, c.auth()); !ok {
		return nil, err
	}
	if err := conn.write(b.bytes, b.ends); err != nil {
		return nil, err
	}
	for {
		frame, err := conn.read()
		if err != nil {
			return nil, notInTime(err)
		}
		switch frame.Op {
		case wire.OpAuthReply:
			reply := &imv1.AuthReply{}
			return reply, unmarshal(frame, reply)
		case wire.OpError:
			return nil, with(frame, &imv1.Error{}, func(body *imv1.Error) error { return errorOf(body) })
		case wire.OpDisconnect:
			return nil, with(frame, &imv1.Disconnect{}, func(body *imv1.Disconnect) error { return notInTime(endOf(body)) })
		}
	}
}

// notInTime makes a failure like any other of an end without a refusal: the auth was too long
// on its way, which says nothing of its token.
func notInTime(err error) error {
	if end := (*EndError)(nil); errors.As(err, &end) && end.Code == im.DisconnectUnauthenticated {
		return fmt.Errorf("the server has not had the auth in time: %s", end.Reason)
	}
	return err
}
