package transfer

import (
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// planProfile changes what others see of a user. What is so already makes no entry.
func (b *inbox) planProfile(item *ownItem, wanted *imv1.ProfileChange, l *ownLoad, c *inboxCommit) error {
	user := l.users[item.user.id]
	if user == nil || user.Deleted {
		return im.Errorf(im.NotFound, "no such user")
	}
	data, changed := map[string]*structpb.Value{}, false
	set := func(name string, value *string, stored *string) {
		if value == nil {
			return
		}
		changed = changed || *value != *stored
		*stored = *value
		data[name] = structpb.NewStringValue(*value)
	}
	set("nickname", wanted.Nickname, &user.Nickname)
	set(dataAvatar, wanted.AvatarFileId, &user.AvatarFileID)
	set("bio", wanted.Bio, &user.Bio)
	id := item.eventID("")
	done := l.done(item, id)
	l.doubtful[user.ID] = l.doubtful[user.ID] || done
	if !changed && !l.doubtful[user.ID] {
		return nil
	}
	shown := &imv1.Entry{AtMs: b.server.now().UnixMilli(), Profile: &imv1.Profile{Data: dataOf(data)}}
	return c.addEntry(item, id, im.KindProfile, shown, l, func(seq int64, c *inboxCommit) {
		c.commit.Own.Profiles = append(c.commit.Own.Profiles, im.ProfileUpdate{
			UserID: item.user.id, Seq: seq, Nickname: wanted.Nickname, AvatarFileID: wanted.AvatarFileId, Bio: wanted.Bio,
		})
	})
}
