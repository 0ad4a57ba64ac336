package http

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
)

// ConnectionsQuery asks for a page of the journal.
type ConnectionsQuery struct {
	DeviceID string `query:"device_id" doc:"Only of this device."`
	PageQuery
}

type userConnectionsQuery struct {
	ConnectionsQuery
	UserID string `query:"user_id" doc:"Whose."`
}

// ConnectionList is a page of the journal of a user's connections.
type ConnectionList struct {
	Connections []ConnectionView `json:"connections" nullable:"false" doc:"Those that began last first."`
	Next        string           `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

// ConnectionView is a line of the journal.
type ConnectionView struct {
	SessionID   string    `json:"session_id"`
	DeviceID    string    `json:"device_id"`
	Platform    string    `json:"platform" enum:"web,desktop,ios,android,tablet,other"`
	Transport   string    `json:"transport" enum:"websocket,tcp"`
	Remote      string    `json:"remote" doc:"Host and port that it came from."`
	Client      string    `json:"client,omitempty" doc:"What the client said it is."`
	UserAgent   string    `json:"user_agent,omitempty"`
	OnlineAtMs  int64Text `json:"online_at_ms"`
	OfflineAtMs int64Text `json:"offline_at_ms,omitempty" doc:"Left out: it is live, or lost and nobody knows since when."`
	Reason      string    `json:"reason,omitempty" doc:"Why it ended: a disconnect code, left (by the client) or lost."`
}

func (s *Server) journalRoutes(api huma.API) {
	register(s, api, operation("list-connections", http.MethodGet, "/v1/connections", "Devices", byToken, "List one's connections",
		"When which device was online, from where, and why that ended. A line is there about a second after what it says."), s.listConnections)
}

func (s *Server) serviceJournalRoutes(api huma.API) {
	register(s, api, operation("list-user-connections", http.MethodGet, "/v1/service/connections", "Service", byServiceKey,
		"List a user's connections", "As a user lists their own."), s.listUserConnections)
}

func (s *Server) listConnections(ctx context.Context, in *ConnectionsQuery) (*answer[ConnectionList], error) {
	return s.connectionsOf(ctx, callerOf(ctx).UserID, in)
}

func (s *Server) listUserConnections(ctx context.Context, in *userConnectionsQuery) (*answer[ConnectionList], error) {
	if _, err := s.userByID(ctx, in.UserID); err != nil {
		return nil, err
	}
	return s.connectionsOf(ctx, in.UserID, &in.ConnectionsQuery)
}

func (s *Server) connectionsOf(ctx context.Context, userID string, in *ConnectionsQuery) (*answer[ConnectionList], error) {
	before, limit, err := behindPlace[im.ConnectionCursor](&in.PageQuery)
	if err != nil {
		return nil, err
	}
	rows, err := s.Journals.Connections(ctx, im.ConnectionQuery{UserID: userID, DeviceID: in.DeviceID, Before: before, Limit: limit + 1})
	if err != nil {
		return nil, wrap("list connections", err)
	}
	list := ConnectionList{Connections: []ConnectionView{}}
	if len(rows) > limit {
		rows = rows[:limit]
		list.Next = placeCursor(im.ConnectionCursor{OnlineAtMs: rows[limit-1].OnlineAtMs, SessionID: rows[limit-1].SessionID})
	}
	for i := range rows {
		list.Connections = append(list.Connections, s.connectionOf(&rows[i]))
	}
	return reply(list), nil
}

func (s *Server) connectionOf(c *im.Connection) ConnectionView {
	view := ConnectionView{
		SessionID: c.SessionID, DeviceID: c.DeviceID, Platform: c.Platform, Transport: c.Transport, Remote: c.Remote,
		Client: c.Client, UserAgent: c.UserAgent, OnlineAtMs: int64Text(c.OnlineAtMs), OfflineAtMs: int64Text(c.OfflineAtMs), Reason: c.Reason,
	}
	if c.OfflineAtMs == 0 && !s.lives(c) {
		view.Reason = im.EndLost // its server died without a word
	}
	return view
}

// lives reports whether the server of a connection that nobody has seen end is listed; true
// where there is no list yet.
func (s *Server) lives(c *im.Connection) bool {
	list, ok := s.gateways[c.Transport]
	server, _, _ := strings.Cut(c.SessionID, ".")
	return !ok || list.lists(server)
}
