package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/im-transfer/im"
)

// selectPlaces finds the newest event of every stay of a user, at one descent of
// the tree each. The hints in conversations are not asked: they lag, and are no
// cheaper. A block (kind 9) is nothing that happens to a conversation's other user.
const selectPlaces = `SELECT m.conversation, k.id, e.seq, e.at_ms FROM members m
	CROSS JOIN conversation_keys k ON k.key = m.conversation
	CROSS JOIN messages e ON e.conversation = m.conversation AND e.seq = (
		SELECT seq FROM messages
		WHERE conversation = m.conversation AND seq BETWEEN m.joined_seq AND m.left_seq AND kind <> 9
		ORDER BY seq DESC LIMIT 1)
	WHERE m.user = ?`

// place is a conversation in a user's list.
type place struct {
	key  int64
	id   string
	head int64 // of the events that the user may see
	atMs int64
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(b.atMs, a.atMs), cmp.Compare(a.id, b.id))
}

// ConversationList returns up to limit conversations of a user below a position,
// newest first, those with the same time by id. A conversation of which the user
// may see no event is not in it.
func (s *Store) ConversationList(ctx context.Context, userID string, from im.ListCursor, limit int) (views []im.ConversationView, err error) {
	err = s.snapshot(ctx, "list conversations", func(c *conn) error {
		user, err := s.users.key(c, userID)
		if err != nil {
			return err
		}
		places, err := placesOf(c, selectPlaces, user)
		if err != nil {
			return err
		}
		for _, p := range pageOf(places, from, limit) {
			view, err := s.view(c, user, userID, p)
			if err != nil {
				return err
			}
			views = append(views, view)
		}
		return nil
	})
	return views, err
}

// placesOf returns one place for each conversation, that of its newest event.
func placesOf(c *conn, query string, args ...any) ([]place, error) {
	newest := make(map[int64]place)
	err := c.each(query, func(r row) bool {
		p := place{key: r.int(0), id: r.text(1), head: r.int(2), atMs: r.int(3)}
		if p.head > newest[p.key].head {
			newest[p.key] = p
		}
		return true
	}, args...)
	places := make([]place, 0, len(newest))
	for _, p := range newest {
		places = append(places, p)
	}
	return places, err
}

func pageOf(places []place, from im.ListCursor, limit int) []place {
	slices.SortFunc(places, comparePlaces)
	if from != (im.ListCursor{}) {
		last := place{id: from.ID, atMs: from.LastAtMs}
		places = slices.DeleteFunc(places, func(p place) bool { return comparePlaces(p, last) <= 0 })
	}
	return places[:min(limit, len(places))]
}

// ConversationOf returns one line of the list, or im.ErrNotFound for who never
// was a member.
func (s *Store) ConversationOf(ctx context.Context, userID, conversationID string) (view im.ConversationView, err error) {
	err = s.snapshot(ctx, "read conversation", func(c *conn) error {
		user, conversation, err := s.readKeys(c, userID, conversationID)
		if err != nil {
			return err
		}
		places, err := placesOf(c, selectPlaces+" AND m.conversation = ?", user, conversation)
		if err != nil {
			return err
		}
		p := place{key: conversation, id: conversationID}
		if len(places) > 0 {
			p = places[0]
		} else if stays, err := s.members(c, conversationID, selectStays, conversation, user); err != nil {
			return err
		} else if len(stays) == 0 {
			return fmt.Errorf("%w: conversation %q of user %q", im.ErrNotFound, conversationID, userID)
		}
		view, err = s.view(c, user, userID, p)
		return err
	})
	return view, err
}

// view fills a line of the list in.
func (s *Store) view(c *conn, user int64, userID string, p place) (view im.ConversationView, err error) {
	view = im.ConversationView{Head: p.head, LastAtMs: p.atMs}
	view.ID = p.id
	if _, err := loadConversation(c, p.key, &view.Conversation); err != nil {
		return view, err
	}
	if view.Type == im.Direct {
		view.PeerID = peerOf(view.Key, userID)
	}
	if view.Mark, err = loadMark(c, user, p.key); err != nil {
		return view, err
	}
	view.Mark.UserID, view.Mark.ConversationID = userID, p.id
	if view.Unread, err = s.unread(c, user, p.key, max(view.Mark.ReadUpto, view.Mark.ClearedUpto)); err != nil {
		return view, err
	}
	if view.Unread > 0 {
		if view.Mentions, err = s.mentions(c, user, p.key, max(view.Mark.ReadUpto, view.Mark.ClearedUpto)); err != nil {
			return view, err
		}
	}
	stays, err := s.members(c, p.id, selectStays, p.key, user)
	if err != nil {
		return view, err
	}
	view.Present = slices.ContainsFunc(stays, func(m im.Member) bool { return m.LeftSeq == im.Forever })
	last, _, err := s.history(c, p.key, im.EventRange{ConversationID: p.id, Limit: 1, Stays: stays, Viewer: view.Mark})
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
