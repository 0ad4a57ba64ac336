package mongo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/im-transfer/im"
)

// line is a conversation in a user's list.
type line struct {
	id    string
	stays []im.Member
	last  place // of the events that the user may see
}

func compareLines(a, b line) int {
	return cmp.Or(cmp.Compare(b.last.AtMs, a.last.AtMs), cmp.Compare(a.id, b.id))
}

// ConversationList returns up to limit conversations of a user below a position,
// newest first, those with the same time by id. A conversation of which the user
// may see no event is not in it. It looks the newest event of every stay up; the
// hints in conversations lag.
func (s *Store) ConversationList(ctx context.Context, userID string, from im.ListCursor, limit int) ([]im.ConversationView, error) {
	lines, err := s.lines(ctx, userID, nil)
	if err != nil {
		return nil, wrap("list conversations", err)
	}
	lines = slices.DeleteFunc(lines, func(l line) bool { return l.last.Seq == 0 })
	slices.SortFunc(lines, compareLines)
	if from != (im.ListCursor{}) {
		last := line{id: from.ID, last: place{AtMs: from.LastAtMs}}
		lines = slices.DeleteFunc(lines, func(l line) bool { return compareLines(l, last) <= 0 })
	}
	views, err := s.views(ctx, userID, lines[:min(limit, len(lines))])
	return views, wrap("list conversations", err)
}

// ConversationOf returns one line of the list, or im.ErrNotFound for who never
// was a member.
func (s *Store) ConversationOf(ctx context.Context, userID, conversationID string) (im.ConversationView, error) {
	lines, err := s.lines(ctx, userID, []string{conversationID})
	if err == nil && len(lines) == 0 {
		err = fmt.Errorf("%w: conversation %q of user %q", im.ErrNotFound, conversationID, userID)
	}
	if err != nil {
		return im.ConversationView{}, wrap("read conversation", err)
	}
	views, err := s.views(ctx, userID, lines)
	if err != nil {
		return im.ConversationView{}, wrap("read conversation", err)
	}
	return views[0], nil
}

// lines returns a line for each conversation that a user is or was in.
func (s *Store) lines(ctx context.Context, userID string, conversationIDs []string) ([]line, error) {
	stays, err := s.staysIn(ctx, userID, conversationIDs)
	if err != nil {
		return nil, err
	}
	places := make([]place, len(stays))
	err = each(len(stays), func(i int) (err error) {
		places[i], err = s.newestShown(ctx, stays[i].ConversationID, stays[i].JoinedSeq, stays[i].LeftSeq)
		return err
	})
	var lines []line
	of := make(map[string]int)
	for i, stay := range stays {
		k, is := of[stay.ConversationID]
		if !is {
			k = len(lines)
			of[stay.ConversationID] = k
			lines = append(lines, line{id: stay.ConversationID})
		}
		lines[k].stays = append(lines[k].stays, stay)
		if places[i].Seq > lines[k].last.Seq {
			lines[k].last = places[i]
		}
	}
	return lines, err
}

// views fills lines of the list in.
func (s *Store) views(ctx context.Context, userID string, lines []line) ([]im.ConversationView, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	ids, keys := make([]string, len(lines)), make([]im.ReadKey, len(lines))
	for i, l := range lines {
		ids[i], keys[i] = l.id, im.ReadKey{UserID: userID, ConversationID: l.id}
	}
	rows, err := s.conversationRows(ctx, ids)
	if err != nil {
		return nil, err
	}
	marks, err := s.Marks(ctx, keys)
	if err != nil {
		return nil, err
	}
	views := make([]im.ConversationView, len(lines))
	err = each(len(lines), func(i int) (err error) {
		row := rows[ids[i]]
		views[i], err = s.view(ctx, lines[i], row.conversation(), marks[i])
		return err
	})
	return views, err
}

func (s *Store) view(ctx context.Context, l line, c im.Conversation, mark im.ReadMark) (im.ConversationView, error) {
	view := im.ConversationView{Conversation: c, Head: l.last.Seq, LastAtMs: l.last.AtMs, Mark: mark}
	view.ID = l.id
	if view.Type == im.Direct {
		view.PeerID = peerOf(view.Key, mark.UserID)
	}
	var err error
	if view.Unread, err = s.unread(ctx, mark, l.stays); err != nil {
		return view, err
	}
	if view.Unread > 0 {
		if view.Mentions, err = s.mentions(ctx, mark, l.stays); err != nil {
			return view, err
		}
	}
	view.Present = slices.ContainsFunc(l.stays, func(m im.Member) bool { return m.LeftSeq == im.Forever })
	last, _, err := s.History(ctx, im.EventRange{ConversationID: l.id, Limit: 1, Stays: l.stays, Viewer: mark})
	if len(last) > 0 {
		view.Last = &last[0]
	}
	return view, err
}

// peerOf returns the other one of a direct conversation's two users.
func peerOf(key, userID string) string {
	a, b, _ := strings.Cut(key, "\x00")
	if a == userID {
		return b
	}
	return a
}
