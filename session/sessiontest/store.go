package sessiontest

import (
	"fmt"
	"strings"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// Token returns a token that Login takes, valid for ttl; 0 = for ever.
func Token(user, device, platform string, ttl time.Duration) string {
	expires := int64(0)
	if ttl > 0 {
		expires = time.Now().Add(ttl).UnixMilli()
	}
	return fmt.Sprintf("%s|%s|%s|%d", user, device, platform, expires)
}

func (c *Cluster) login(r *imv1.LoginRequest) *imv1.LoginReply {
	if c.OnLogin != nil {
		if refusal := c.OnLogin(r); refusal != nil {
			return &imv1.LoginReply{Error: refusal}
		}
	}
	parts := strings.Split(r.Auth.Token, "|")
	switch {
	case len(parts) != 4:
		return &imv1.LoginReply{Error: &imv1.Error{Code: "unauthenticated", Message: "bad token"}}
	case parts[1] != r.Auth.DeviceId || parts[2] != r.Auth.Platform:
		return &imv1.LoginReply{Error: &imv1.Error{Code: "forbidden", Message: "another device or platform"}}
	}
	reply := &imv1.LoginReply{UserId: parts[0], DeviceId: parts[1], Platform: parts[2]}
	fmt.Sscan(parts[3], &reply.ExpiresAtMs) //nolint:errcheck // Token's
	c.mu.Lock()
	defer c.mu.Unlock()
	reply.Grant = im.Grant(c.family(reply.UserId, reply.DeviceId))
	if reply.Grant == 0 {
		return &imv1.LoginReply{Error: &imv1.Error{Code: "unauthenticated", Message: "signed out"}}
	}
	box := c.inbox(reply.UserId)
	reply.Head, reply.InboxEpoch = int64(len(box.entries)), c.epoch
	reply.ResumeFrom = box.cursors[reply.DeviceId]
	if r.Auth.LastSeq != nil {
		reply.ResumeFrom = *r.Auth.LastSeq
	}
	if reply.ResumeFrom > reply.Head || r.Auth.InboxEpoch != "" && r.Auth.InboxEpoch != c.epoch {
		reply.TooLong, reply.ResumeFrom = true, reply.Head
	}
	return reply
}

func (c *Cluster) pull(r *imv1.PullRequest) *imv1.PullReply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Grant != 0 && r.Grant != im.Grant(c.family(r.UserId, r.DeviceId)) {
		return &imv1.PullReply{Kicked: &imv1.Kicked{Code: string(im.Revoked), Grant: r.Grant}}
	}
	box := c.inbox(r.UserId)
	after, head := box.cursors[r.DeviceId], int64(len(box.entries))
	if r.After != nil {
		after = *r.After
	}
	reply := &imv1.PullReply{Head: head, InboxEpoch: c.epoch, FirstSeq: after + 1}
	if after > head || r.InboxEpoch != "" && r.InboxEpoch != c.epoch {
		reply.TooLong = true
		return reply
	}
	for seq := after + 1; seq <= head && int32(len(reply.Entries)) < r.Limit; seq++ { //nolint:gosec // small
		entry := encode(box.entries[seq-1])
		if box.broken[seq] {
			entry = []byte{0xff}
		}
		reply.Entries = append(reply.Entries, entry)
	}
	reply.HasMore = after+int64(len(reply.Entries)) < head
	return reply
}

func encode(e *imv1.Entry) []byte {
	data, err := e.MarshalVT()
	if err != nil {
		panic(err) // it can not
	}
	return data
}

func (c *Cluster) inbox(user string) *inbox {
	box := c.inboxes[user]
	if box == nil {
		box = &inbox{broken: map[int64]bool{}, cursors: map[string]int64{}, sessions: map[string]target{}}
		c.inboxes[user] = box
	}
	return box
}
