package http

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/im-transfer/im"
)

const (
	// groupsAtOnce is how many groups an account leaves at a time.
	groupsAtOnce = 16
	// mostFarewells is how often the list of conversations is gone through. Whoever has
	// a message in it meanwhile moves up, past where it is being read.
	mostFarewells = 5
)

// leaveGroups takes the caller out of all groups. Those that it owns go to an admin, or
// to a member where there is none, the longest one in; what has nobody else is dissolved.
func (s *Server) leaveGroups(ctx context.Context) error {
	for range mostFarewells {
		left, err := s.leaveThoseOfTheList(ctx)
		if left == 0 || err != nil {
			return err
		}
	}
	return im.Retry(im.Unavailable, time.Second, "others put the account into groups as fast as it leaves them")
}

// leaveThoseOfTheList goes through the list once, and says how many groups it had to do
// with: those that have been left already stay in the list for a moment.
func (s *Server) leaveThoseOfTheList(ctx context.Context) (found int64, err error) {
	var from im.ListCursor
	for {
		views, err := s.Histories.ConversationList(ctx, callerOf(ctx).UserID, from, im.MaxPage)
		if err != nil {
			return found, wrap("list conversations", err)
		}
		n, err := s.leaveThose(ctx, views)
		if found += n; err != nil || len(views) < im.MaxPage {
			return found, err
		}
		last := views[len(views)-1]
		from = im.ListCursor{LastAtMs: last.LastAtMs, ID: last.ID}
	}
}

func (s *Server) leaveThose(ctx context.Context, views []im.ConversationView) (int64, error) {
	var ids []string
	for i := range views {
		if views[i].Type != im.Group || !views[i].Present {
			continue
		}
		settings, err := settingsOf(&views[i].Conversation)
		if err != nil {
			return 0, err
		}
		if !settings.Dissolved {
			ids = append(ids, views[i].ID)
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	groups, err := s.Histories.Conversations(ctx, ids)
	if err != nil {
		return 0, wrap("read groups", err)
	}
	var found atomic.Int64
	leaving, ctx := errgroup.WithContext(ctx)
	leaving.SetLimit(groupsAtOnce)
	for i := range groups {
		leaving.Go(func() error {
			out, err := s.leaveGroup(ctx, &groups[i])
			if !out {
				found.Add(1)
			}
			return err
		})
	}
	err = leaving.Wait()
	return found.Load(), err
}

// leaveGroup leaves a group, which may have changed meanwhile: what is refused for that
// is tried anew when the list is gone through again. out: the caller was in it no more.
func (s *Server) leaveGroup(ctx context.Context, group *im.ConversationState) (out bool, err error) {
	heir, owned := heirOf(group.Members, callerOf(ctx).UserID)
	action := im.ActionLeft
	if owned && heir == "" {
		action = im.ActionDissolved
	}
	given := owned && heir != ""
	if given {
		err = s.change(ctx, "", group.Key, im.ActionOwner, []string{heir}, nil)
	}
	if err == nil {
		err = s.change(ctx, "", group.Key, action, nil, nil)
	}
	if code := im.AsError(err).Code; err != nil && (code == im.NotFound || code == im.Forbidden) {
		return code == im.NotFound && !given, nil
	}
	return false, err
}

// heirOf says whether a user owns a group, and who is to have it next: empty for nobody.
func heirOf(members []im.Member, userID string) (heir string, owned bool) {
	var others []im.Member
	for _, m := range members {
		if m.UserID != userID {
			others = append(others, m)
		} else {
			owned = im.Role(m.Role) == im.RoleOwner
		}
	}
	if len(others) == 0 {
		return "", owned
	}
	return slices.MinFunc(others, func(a, b im.Member) int {
		return cmp.Or(cmp.Compare(standing(&a), standing(&b)), cmp.Compare(a.JoinedSeq, b.JoinedSeq), cmp.Compare(a.UserID, b.UserID))
	}).UserID, owned
}

// standing puts admins before members.
func standing(m *im.Member) int {
	if im.Role(m.Role) == im.RoleAdmin {
		return 0
	}
	return 1
}
