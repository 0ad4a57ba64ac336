package client

import (
	"context"
	"net/url"
	"strconv"
)

// Group is a group as one of its members sees it.
type Group struct {
	GroupID        string `json:"group_id"`
	ConversationID string `json:"conversation_id"`
	Name           string `json:"name"`
	AvatarFileID   string `json:"avatar_file_id"`
	Announcement   string `json:"announcement"`
	History        string `json:"history"` // joined or all: what a new member may read of what was before
	Join           string `json:"join"`    // invite, request, open or closed: how one comes in
	MuteAll        bool   `json:"mute_all"`
	OwnerID        string `json:"owner_id"`
	Members        int    `json:"members"` // how many
	Role           string `json:"role"`    // one's own: owner, admin or member
}

// GroupChanges are what ChangeGroup sets; nil leaves it as it is.
type GroupChanges struct {
	Name         *string `json:"name,omitempty"`
	AvatarFileID *string `json:"avatar_file_id,omitempty"`
	Announcement *string `json:"announcement,omitempty"`
	History      *string `json:"history,omitempty"`
	Join         *string `json:"join,omitempty"`
	MuteAll      *bool   `json:"mute_all,omitempty"`
}

// Member is a member of a group.
type Member struct {
	UserID       string
	Role         string // owner, admin or member
	MutedUntilMs int64  // Unix milliseconds; 0 = not muted
	JoinedSeq    int64  // the conversation seq of the joining
}

// JoinRequest is a user's wish to be let into a group.
type JoinRequest struct {
	UserID string
	Text   string
	AtMs   int64 // Unix milliseconds
}

func groupPath(groupID string, rest ...string) string {
	path := "/v1/groups/" + url.PathEscape(groupID)
	for _, part := range rest {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// CreateGroup makes a group of the caller, who is its owner, and others, and returns
// its ids; im.NotFound where one of them does not exist: then nothing is made.
func (a *API) CreateGroup(ctx context.Context, name string, memberIDs ...string) (groupID, conversationID string, err error) {
	var answer Group
	err = a.call(ctx, "POST", "/v1/groups", nil, map[string]any{"name": name, "member_ids": memberIDs}, &answer)
	return answer.GroupID, answer.ConversationID, err
}

// Group returns a group; im.NotFound to who is not a member.
func (a *API) Group(ctx context.Context, groupID string) (Group, error) {
	var group Group
	err := a.call(ctx, "GET", groupPath(groupID), nil, nil, &group)
	return group, err
}

// ChangeGroup changes a group's settings: for its owner and admins.
func (a *API) ChangeGroup(ctx context.Context, groupID string, changes GroupChanges) error {
	return a.call(ctx, "PATCH", groupPath(groupID), nil, changes, nil)
}

// ChangeGroupOwner gives one's group to another member.
func (a *API) ChangeGroupOwner(ctx context.Context, groupID, userID string) error {
	return a.call(ctx, "PUT", groupPath(groupID, "owner"), nil, map[string]string{"user_id": userID}, nil)
}

// DissolveGroup ends one's group.
func (a *API) DissolveGroup(ctx context.Context, groupID string) error {
	return a.call(ctx, "DELETE", groupPath(groupID), nil, nil, nil)
}

// Members returns a page of a group's members, by user id, and the cursor of the next
// page, empty at the end. A limit of 0 is 50, at most 200.
func (a *API) Members(ctx context.Context, groupID, cursor string, limit int) ([]Member, string, error) {
	var answer struct {
		Members []struct {
			UserID       string `json:"user_id"`
			Role         string `json:"role"`
			MutedUntilMs number `json:"muted_until_ms"`
			JoinedSeq    number `json:"joined_seq"`
		} `json:"members"`
		Next string `json:"next"`
	}
	err := a.call(ctx, "GET", groupPath(groupID, "members"), cursorValues(cursor, limit), nil, &answer)
	members := make([]Member, 0, len(answer.Members))
	for _, m := range answer.Members {
		members = append(members, Member{m.UserID, m.Role, int64(m.MutedUntilMs), int64(m.JoinedSeq)})
	}
	return members, answer.Next, err
}

// AddMembers adds users to a group; who is in already is left out.
func (a *API) AddMembers(ctx context.Context, groupID string, userIDs ...string) error {
	return a.call(ctx, "POST", groupPath(groupID, "members"), nil, map[string]any{"user_ids": userIDs}, nil)
}

// RemoveMember removes a member from a group, or, given oneself, leaves it.
func (a *API) RemoveMember(ctx context.Context, groupID, userID string) error {
	return a.call(ctx, "DELETE", groupPath(groupID, "members", userID), nil, nil, nil)
}

// GiveRole makes a member admin or member: for the owner.
func (a *API) GiveRole(ctx context.Context, groupID, userID, role string) error {
	return a.call(ctx, "PATCH", groupPath(groupID, "members", userID), nil, map[string]string{"role": role}, nil)
}

// Mute keeps a member from sending until a time in Unix milliseconds; 0 ends it.
func (a *API) Mute(ctx context.Context, groupID, userID string, untilMs int64) error {
	body := map[string]string{"muted_until_ms": strconv.FormatInt(untilMs, 10)}
	return a.call(ctx, "PATCH", groupPath(groupID, "members", userID), nil, body, nil)
}

// AskToJoin asks to be let into a group. Of one that is open one is a member at once.
func (a *API) AskToJoin(ctx context.Context, groupID, text string) error {
	return a.call(ctx, "POST", groupPath(groupID, "requests"), nil, map[string]string{"text": text}, nil)
}

// JoinRequests returns a page of who has asked and has no answer, the oldest first, and the
// cursor of the next page: for the owner and admins.
func (a *API) JoinRequests(ctx context.Context, groupID, cursor string, limit int) ([]JoinRequest, string, error) {
	var answer struct {
		Requests []struct {
			UserID string `json:"user_id"`
			Text   string `json:"text"`
			AtMs   number `json:"at_ms"`
		} `json:"requests"`
		Next string `json:"next"`
	}
	err := a.call(ctx, "GET", groupPath(groupID, "requests"), cursorValues(cursor, limit), nil, &answer)
	requests := make([]JoinRequest, 0, len(answer.Requests))
	for _, r := range answer.Requests {
		requests = append(requests, JoinRequest{r.UserID, r.Text, int64(r.AtMs)})
	}
	return requests, answer.Next, err
}

// AnswerJoinRequest lets a user in who has asked, or refuses.
func (a *API) AnswerJoinRequest(ctx context.Context, groupID, userID string, accept bool) error {
	return a.call(ctx, "PUT", groupPath(groupID, "requests", userID), nil, map[string]bool{"accept": accept}, nil)
}
