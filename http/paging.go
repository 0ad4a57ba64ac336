package http

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/im-transfer/im"
)

// PageQuery asks for a page of a list.
type PageQuery struct {
	Cursor string `query:"cursor" doc:"The next of the page before."`
	Limit  int    `query:"limit" doc:"0 = 50, at most 200; a page may be shorter."`
}

// pageLimit is a client's limit in force.
func pageLimit(limit int) (int, error) {
	inForce, ok := im.PageLimit(limit)
	if !ok {
		return 0, invalid("limit is negative")
	}
	return inForce, nil
}

func notOurCursor() error { return invalid("the cursor is not one of ours") }

// behind returns the key that a page of a list sorted by a key begins behind, and how many
// it has at most.
func (q *PageQuery) behind() (key string, limit int, err error) {
	if limit, err = pageLimit(q.Limit); err != nil {
		return "", 0, err
	}
	decoded, err := base64URL.DecodeString(q.Cursor)
	if err != nil {
		return "", 0, notOurCursor()
	}
	return string(decoded), limit, nil
}

// keyCursor is the cursor of what comes behind a key.
func keyCursor(key string) string { return base64URL.EncodeToString([]byte(key)) }

// sortedPage returns the page asked for of a list that was read whole, sorted by a key that
// each has for itself, and the cursor of the next one.
func sortedPage[T any](q *PageQuery, all []T, key func(*T) string) (page []T, next string, err error) {
	after, limit, err := q.behind()
	if err != nil {
		return nil, "", err
	}
	for i := range all {
		if key(&all[i]) > after {
			page = append(page, all[i])
		}
	}
	slices.SortFunc(page, func(a, b T) int { return cmp.Compare(key(&a), key(&b)) })
	if len(page) > limit {
		page = page[:limit]
		next = keyCursor(key(&page[limit-1]))
	}
	return page, next, nil
}

// place is where a page of a list that is sorted by time ends.
type place interface {
	im.ListCursor | im.ConnectionCursor | im.BroadcastCursor
}

// placeCursor is the cursor of what comes behind a place.
func placeCursor[P place](p P) string {
	encoded, _ := json.Marshal(p) //nolint:errchkjson // a number and a string
	return base64URL.EncodeToString(encoded)
}

// behindPlace returns the place that a page of a list sorted by time begins behind, and
// how many it has at most.
func behindPlace[P place](q *PageQuery) (from P, limit int, err error) {
	if limit, err = pageLimit(q.Limit); err != nil || q.Cursor == "" {
		return from, limit, err
	}
	encoded, err := base64URL.DecodeString(q.Cursor)
	if err != nil || json.Unmarshal(encoded, &from) != nil {
		return from, 0, notOurCursor()
	}
	return from, limit, nil
}
