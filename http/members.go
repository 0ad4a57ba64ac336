package http

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// MemberPath names a member of a group.
type MemberPath struct {
	GroupPath
	UserID string `path:"user_id" doc:"A user_id."`
}

type membersQuery struct {
	GroupPath
	PageQuery
}

// MemberList is a page of a group's members.
type MemberList struct {
	Members []MemberView `json:"members" nullable:"false" doc:"By user_id."`
	Next    string       `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

// MemberView is a member of a group.
type MemberView struct {
	UserID       string    `json:"user_id"`
	Role         string    `json:"role" enum:"owner,admin,member"`
	MutedUntilMs int64Text `json:"muted_until_ms,omitempty"`
	JoinedSeq    int64Text `json:"joined_seq" doc:"The conversation seq of the joining."`
}

type addMembersRequest struct {
	GroupPath
	ChangeKey
	Body struct {
		UserIDs []string `json:"user_ids"`
	}
}

type removeMemberRequest struct {
	MemberPath
	ChangeKey
}

type changeMemberRequest struct {
	MemberPath
	ChangeKey
	Body struct {
		Role         *string    `json:"role" enum:"admin,member" doc:"For the owner to give."`
		MutedUntilMs *int64Text `json:"muted_until_ms" doc:"Unix milliseconds; 0 = not muted."`
	}
}

type joinRequest struct {
	GroupPath
	ChangeKey
	Body struct {
		Text string `json:"text" doc:"To the owner and the admins; at most 512 bytes."`
	}
}

type answerJoinRequest struct {
	MemberPath
	ChangeKey
	Body struct {
		Accept *bool `json:"accept"`
	}
}

// JoinRequests is a page of those that wait for an answer.
type JoinRequests struct {
	Requests []JoinRequestView `json:"requests" nullable:"false" doc:"The oldest first; at most 100 wait."`
	Next     string            `json:"next,omitempty" doc:"Where the next page begins; left out at the end."`
}

// JoinRequestView is one user's wish to be let in.
type JoinRequestView struct {
	UserID string    `json:"user_id"`
	Text   string    `json:"text,omitempty"`
	AtMs   int64Text `json:"at_ms"`
}

func (s *Server) memberRoutes(api huma.API) {
	register(s, api, operation("list-members", http.MethodGet, "/v1/groups/{id}/members", "Groups", byToken, "List a group's members",
		"For its members."), s.listMembers)
	register(s, api, operation("add-members", http.MethodPost, "/v1/groups/{id}/members", "Groups", byToken, "Add members",
		"Who may, is a setting of the group. Who is in already is left out; where a user does not exist nobody is added."), s.addMembers)
	register(s, api, operation("remove-member", http.MethodDelete, "/v1/groups/{id}/members/{user_id}", "Groups", byToken, "Remove a member, or leave",
		"Oneself, or me: leave; the owner gives the group away first. Others: for the owner, and of members also for admins."), s.removeMember)
	register(s, api, operation("change-member", http.MethodPatch, "/v1/groups/{id}/members/{user_id}", "Groups", byToken, "Give a role, or mute",
		"Roles are given by the owner; members are muted by the owner and the admins, admins by the owner."), s.changeMember)
	register(s, api, operation("request-joining", http.MethodPost, "/v1/groups/{id}/requests", "Groups", byToken, "Ask to be let in",
		"Of an open group one is a member at once. A group that lets nobody ask is not found."), s.requestJoining)
	register(s, api, operation("list-join-requests", http.MethodGet, "/v1/groups/{id}/requests", "Groups", byToken, "List who has asked to be let in",
		"For the owner and the admins."), s.listJoinRequests)
	register(s, api, operation("answer-join-request", http.MethodPut, "/v1/groups/{id}/requests/{user_id}", "Groups", byToken, "Let in, or refuse",
		"For the owner and the admins."), s.answerJoining)
}

func (s *Server) listMembers(ctx context.Context, in *membersQuery) (*answer[MemberList], error) {
	state, _, err := s.groupAsMember(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	list := MemberList{Members: []MemberView{}}
	members, next, err := sortedPage(&in.PageQuery, state.Members, func(m *im.Member) string { return m.UserID })
	if err != nil {
		return nil, err
	}
	list.Next = next
	for _, m := range members {
		list.Members = append(list.Members, MemberView{m.UserID, m.Role, int64Text(m.MutedUntilMs), int64Text(m.JoinedSeq)})
	}
	return reply(list), nil
}

func (s *Server) addMembers(ctx context.Context, in *addMembersRequest) (*nothing, error) {
	return nil, s.change(ctx, in.IdempotencyKey, in.ID, im.ActionJoined, in.Body.UserIDs, nil)
}

func (s *Server) removeMember(ctx context.Context, in *removeMemberRequest) (*nothing, error) {
	if in.UserID == "me" || in.UserID == callerOf(ctx).UserID {
		return nil, s.change(ctx, in.IdempotencyKey, in.ID, im.ActionLeft, nil, nil)
	}
	return nil, s.change(ctx, in.IdempotencyKey, in.ID, im.ActionRemoved, []string{in.UserID}, nil)
}

// changeMember makes up to two changes, each with a key of its own, so that a repeat
// does what is left of them.
func (s *Server) changeMember(ctx context.Context, in *changeMemberRequest) (*nothing, error) {
	if in.Body.Role == nil && in.Body.MutedUntilMs == nil {
		return nil, invalid("role or muted_until_ms must be given")
	}
	if in.Body.Role != nil {
		data := dataOf(map[string]any{"role": *in.Body.Role})
		if err := s.change(ctx, in.IdempotencyKey, in.ID, im.ActionRole, []string{in.UserID}, data); err != nil {
			return nil, err
		}
	}
	if in.Body.MutedUntilMs == nil {
		return nil, nil
	}
	key := in.IdempotencyKey
	if key != "" && in.Body.Role != nil {
		key = im.DerivedID("muted", key)
	}
	data := dataOf(map[string]any{"muted_until_ms": strconv.FormatInt(int64(*in.Body.MutedUntilMs), 10)})
	return nil, s.change(ctx, key, in.ID, im.ActionMuted, []string{in.UserID}, data)
}

func (s *Server) requestJoining(ctx context.Context, in *joinRequest) (*nothing, error) {
	return nil, s.change(ctx, in.IdempotencyKey, in.ID, im.ActionRequested, nil, dataOf(map[string]any{"text": in.Body.Text}))
}

func (s *Server) answerJoining(ctx context.Context, in *answerJoinRequest) (*nothing, error) {
	action := im.ActionRefused
	if in.Body.Accept == nil {
		return nil, acceptMissing()
	}
	if *in.Body.Accept {
		action = im.ActionAccepted
	}
	return nil, s.change(ctx, in.IdempotencyKey, in.ID, action, []string{in.UserID}, nil)
}

func (s *Server) listJoinRequests(ctx context.Context, in *membersQuery) (*answer[JoinRequests], error) {
	state, own, err := s.groupAsMember(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if im.Role(own.Role) != im.RoleOwner && im.Role(own.Role) != im.RoleAdmin {
		return nil, im.Errorf(im.Forbidden, "that is for the owner and the admins")
	}
	settings, err := settingsOf(&state.Conversation)
	if err != nil {
		return nil, err
	}
	oldest := func(r **imv1.JoinRequest) string { return fmt.Sprintf("%020d %s", (*r).AtMs, (*r).UserId) }
	requests, next, err := sortedPage(&in.PageQuery, settings.Requests, oldest)
	if err != nil {
		return nil, err
	}
	list := JoinRequests{Requests: []JoinRequestView{}, Next: next}
	for _, r := range requests {
		list.Requests = append(list.Requests, JoinRequestView{r.UserId, r.Text, int64Text(r.AtMs)})
	}
	return reply(list), nil
}
