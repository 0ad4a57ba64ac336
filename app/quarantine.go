package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

// QuarantinedItem is an item of the quarantine as the admin listener shows it.
type QuarantinedItem struct {
	ID        int64  `json:"id,string"`
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	AtMs      int64  `json:"at_ms,string"`     // when it came
	Reason    string `json:"reason"`           // why it could not be decoded then
	Broken    string `json:"broken,omitempty"` // why it can not be decoded now; of one item only
	Bytes     int    `json:"bytes"`
	Body      []byte `json:"body,omitempty"` // of one item only
}

// QuarantinePage is a page of the quarantine, oldest first. The next one is asked for
// with the last item's at_ms and id as after_ms and after_id.
type QuarantinePage struct {
	Items []QuarantinedItem `json:"items"`
	More  bool              `json:"more"`
}

// quarantine serves what could not be decoded to operators.
type quarantine struct {
	transfer *transfer.Server
	log      *slog.Logger
}

// replayPatience bounds a request of an operator.
const replayPatience = 10 * time.Second

func (q *quarantine) handle(mux *http.ServeMux) {
	mux.HandleFunc("GET /quarantine", q.answer(q.list))
	mux.HandleFunc("GET /quarantine/{id}", q.answer(q.show))
	mux.HandleFunc("POST /quarantine/{id}/replay", q.answer(q.replay))
}

// answer writes what a request comes to as JSON, or the error as text: operators may
// see it as it is.
func (q *quarantine) answer(do func(context.Context, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), replayPatience)
		defer cancel()
		body, err := do(ctx, r)
		var refusal *im.Error
		switch {
		case errors.As(err, &refusal):
			say(w, refusal.Code.Status(), refusal.Message)
			return
		case err != nil:
			q.log.Warn("quarantine", "request", r.URL.Path, "error", err)
			say(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(body); err != nil {
			q.log.Debug("answer an operator", "error", err)
		}
	}
}

func (q *quarantine) list(ctx context.Context, r *http.Request) (any, error) {
	query := r.URL.Query()
	var numbers [3]int64
	for i, name := range []string{"after_ms", "after_id", "limit"} {
		var err error
		if numbers[i], err = number(query.Get(name)); err != nil {
			return nil, im.Errorf(im.Invalid, "%s is no number", name)
		}
	}
	limit, ok := im.PageLimit(int(numbers[2]))
	if !ok {
		return nil, im.Errorf(im.Invalid, "limit is negative")
	}
	items, err := q.transfer.Quarantined(ctx, numbers[0], numbers[1], limit+1)
	if err != nil {
		return nil, err
	}
	page := QuarantinePage{More: len(items) > limit, Items: []QuarantinedItem{}}
	for i := range items[:min(limit, len(items))] {
		page.Items = append(page.Items, shown(&items[i]))
	}
	return page, nil
}

func (q *quarantine) show(ctx context.Context, r *http.Request) (any, error) {
	id, err := number(r.PathValue("id"))
	if err != nil {
		return nil, im.Errorf(im.NotFound, "there is no such item")
	}
	item, broken, err := q.transfer.QuarantinedItem(ctx, id)
	if err != nil {
		return nil, err
	}
	out := shown(&item)
	out.Body = item.Body
	if broken != nil {
		out.Broken = broken.Error()
	}
	return out, nil
}

func (q *quarantine) replay(ctx context.Context, r *http.Request) (any, error) {
	id, err := number(r.PathValue("id"))
	if err != nil {
		return nil, im.Errorf(im.NotFound, "there is no such item")
	}
	return struct{}{}, q.transfer.Replay(ctx, id)
}

func shown(item *im.Quarantined) QuarantinedItem {
	return QuarantinedItem{
		ID: item.ID(), Topic: item.Topic, Partition: item.Partition, AtMs: item.AtMs, Reason: item.Reason, Bytes: len(item.Body),
	}
}

func number(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.ParseInt(text, 10, 64)
}
