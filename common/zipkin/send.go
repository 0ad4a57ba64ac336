package zipkin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/openzipkin/zipkin-go/model"
)

// put takes a report into the buffer, or drops it. It never waits.
func (r *Reporter) put(one report) {
	one.clip()
	size := one.size()
	r.mu.Lock()
	stopped, n := r.stopped, len(r.waiting)
	full := n >= r.config.Buffer || r.bytes+size > r.config.Bytes
	if !stopped && !full {
		r.waiting = append(r.waiting, one)
		r.bytes += size
	}
	r.mu.Unlock()
	switch {
	case stopped:
		r.drop(Stopped, 1)
	case full:
		r.drop(Full, 1)
	case n+1 == r.config.Batch:
		signal(r.full)
	}
	if n == 0 {
		signal(r.wake)
	}
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// take returns at most one batch of what waits.
func (r *Reporter) take() []report {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), r.config.Batch)
	batch := r.waiting[:n:n]
	for i := range batch {
		r.bytes -= batch[i].size()
	}
	if r.waiting = r.waiting[n:]; len(r.waiting) == 0 {
		r.waiting = nil
	}
	return batch
}

func (r *Reporter) drop(reason Reason, spans int) {
	r.dropped[reason].Add(uint64(spans)) //nolint:gosec // not negative
}

// run sends until Stop. It sleeps while nothing waits; the first span to come then
// waits for others.
func (r *Reporter) run() {
	defer close(r.done)
	defer r.client.CloseIdleConnections()
	defer r.cancel()
	for ending := false; !ending; {
		select {
		case <-r.wake:
			ending = r.gather()
		case <-r.ending:
			ending = true
		}
		for batch := r.take(); len(batch) > 0; batch = r.take() {
			r.send(batch)
		}
	}
}

// gather waits until a batch is full or its first span has waited long enough; true
// when the end has come.
func (r *Reporter) gather() (ending bool) {
	late := time.NewTimer(r.config.Interval)
	defer late.Stop()
	select {
	case <-late.C:
	case <-r.full:
	case <-r.ending:
		return true
	}
	return false
}

// send brings one batch to the collector, or counts why not. Nothing is sent twice:
// a span is not worth the room that it would wait in.
func (r *Reporter) send(batch []report) {
	if r.ctx.Err() != nil {
		r.drop(Stopped, len(batch))
		return
	}
	spans := make([]model.SpanModel, 0, len(batch))
	for i := range batch {
		if span, ok := batch[i].model(); ok {
			spans = append(spans, span)
		} else {
			r.drop(Invalid, 1)
		}
	}
	body, err := json.Marshal(spans)
	if err != nil {
		r.drop(Invalid, len(spans))
		r.noted(fmt.Errorf("encode spans: %w", err))
		return
	}
	err = r.post(body)
	switch {
	case err == nil:
		r.sent.Add(uint64(len(spans)))
	case r.ctx.Err() != nil:
		r.drop(Stopped, len(spans))
		return
	case errors.Is(err, errRefused):
		r.drop(Refused, len(spans))
	default:
		r.drop(Unreachable, len(spans))
	}
	r.noted(err)
}

// post makes one request. It is not traced itself, which is what its b3 says to
// proxies on the way.
func (r *Reporter) post(body []byte) error {
	request, err := http.NewRequestWithContext(r.ctx, http.MethodPost, r.config.Endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("B3", "0")
	answer, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 512)) // what is read whole leaves the connection open
	switch {
	case answer.StatusCode/100 != 2:
		return fmt.Errorf("%w: %s: %s", errRefused, answer.Status, bytes.TrimSpace(text))
	case err != nil:
		return fmt.Errorf("read the collector's answer: %w", err)
	}
	return nil
}

// noted logs when the collector begins to fail, and when it takes spans again.
func (r *Reporter) noted(err error) {
	switch failing := err != nil; {
	case failing && !r.failing:
		r.config.Log.Warn("spans are dropped: the collector does not take them", "error", err)
	case !failing && r.failing:
		r.config.Log.Info("the collector takes spans again")
	}
	r.failing = err != nil
}
