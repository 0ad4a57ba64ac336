package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// partner is whom one talks to: a user, a group or a room.
type partner struct {
	user  client.User
	group client.Group
	room  client.Room
}

func (p partner) nobody() bool {
	return p.user.UserID == "" && p.group.GroupID == "" && p.room.RoomID == ""
}

func (p partner) name() string {
	switch {
	case p.room.RoomID != "":
		return p.room.Name
	case p.group.GroupID != "":
		return p.group.Name
	}
	return p.user.Username
}

func (p partner) to() *imv1.To {
	switch {
	case p.room.RoomID != "":
		return client.ToRoom(p.room.RoomID)
	case p.group.GroupID != "":
		return client.ToGroup(p.group.GroupID)
	}
	return client.ToUser(p.user.UserID)
}

func (p partner) conversation(self string) string {
	switch {
	case p.room.RoomID != "":
		return p.room.ConversationID
	case p.group.GroupID != "":
		return im.GroupConversation(p.group.GroupID)
	}
	return im.DirectConversation(self, p.user.UserID)
}

func (t *talk) makeGroup(ctx context.Context, name string, who []string) error {
	ids, err := t.findAll(ctx, who)
	if err != nil {
		return err
	}
	group, conversation, err := t.client.API().CreateGroup(ctx, name, ids...)
	if err != nil {
		return err
	}
	t.learnGroup(conversation, name)
	t.choose(partner{group: client.Group{GroupID: group, Name: name}})
	return nil
}

func (t *talk) findAll(ctx context.Context, who []string) ([]string, error) {
	ids := make([]string, 0, len(who))
	for _, name := range who {
		user, err := t.find(ctx, name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, user.UserID)
	}
	return ids, nil
}

// in finds a group by its name among one's conversations, the newest first.
func (t *talk) in(ctx context.Context, name string) error {
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := t.client.API().Conversations(ctx, client.ConversationQuery{Cursor: cursor, Limit: im.MaxPage})
		if err != nil {
			return err
		}
		for _, c := range page.Conversations {
			if strings.EqualFold(c.GroupName, name) {
				t.choose(partner{group: client.Group{GroupID: c.GroupID, Name: c.GroupName}})
				return nil
			}
		}
		cursor = page.Next
	}
	return fmt.Errorf("you are in no group called %s", name)
}

// inGroup does what concerns the group that one talks to.
func (t *talk) inGroup(ctx context.Context, command chatCommand) error {
	peer, err := t.chosen()
	if err != nil {
		return err
	}
	if peer.room.RoomID != "" && command.verb == verbLeave {
		return t.leaveRoom(ctx, peer.room.RoomID)
	}
	if peer.group.GroupID == "" {
		return errors.New("that is for groups: /in NAME")
	}
	api, group := t.client.API(), peer.group.GroupID
	switch command.verb {
	case verbMembers:
		return t.members(ctx, group)
	case verbLeave:
		if err := api.RemoveMember(ctx, group, t.who.tokens.UserID); err != nil {
			return err
		}
		t.mu.Lock()
		t.peer = partner{}
		t.mu.Unlock()
		return nil
	}
	ids, err := t.findAll(ctx, command.words)
	switch {
	case err != nil:
		return err
	case command.verb == verbRemove:
		return api.RemoveMember(ctx, group, ids[0])
	}
	return api.AddMembers(ctx, group, ids...)
}

func (t *talk) members(ctx context.Context, group string) error {
	for cursor, more := "", true; more; more = cursor != "" {
		members, next, err := t.client.API().Members(ctx, group, cursor, im.MaxPage)
		if err != nil {
			return err
		}
		for _, m := range members {
			t.print(fmt.Sprintf("%s (%s)", t.view.person(m.UserID), m.Role))
		}
		cursor = next
	}
	return nil
}

// groupName returns a group's name, asking the server once; its conversation id where
// the server does not tell, since one has left.
func (t *talk) groupName(ctx context.Context, conversation string) string {
	t.mu.Lock()
	name := t.names[conversation]
	t.mu.Unlock()
	if name != "" {
		return name
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := t.client.API().Conversations(ctx, client.ConversationQuery{Cursor: cursor, Limit: im.MaxPage})
		if err != nil {
			break
		}
		for _, c := range page.Conversations {
			if c.GroupName != "" {
				t.learnGroup(c.ConversationID, c.GroupName)
			}
		}
		cursor = page.Next
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names[conversation] == "" {
		t.names[conversation] = conversation
	}
	return t.names[conversation]
}

func (t *talk) forgetGroup(conversation string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.names, conversation)
}

func (t *talk) learnGroup(conversation, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names[conversation] = name
}
