package http

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/im-transfer/im"
)

// record is what the log line of a request needs to know.
type record struct {
	http.ResponseWriter
	status  int
	remote  string // the client's address
	pattern string // of the route; empty = there is none
	userID  string
	code    im.Code
	cause   error
	asked   im.Trace // what the request brought
	trace   im.Trace // Sampled: the place of its span; else what it carries on
}

type recordKey struct{}

// recordOf returns the record of a request, also outside of one.
func recordOf(ctx context.Context) *record {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		return r
	}
	return &record{}
}

// WriteHeader notes the status.
func (r *record) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write notes that the answer has begun.
func (r *record) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *record) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// around is what every request passes through: an id, a time limit, CORS, the
// answer to a panic, a log line if it failed, and a span if it is traced.
func (s *Server) around(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		rec := &record{ResponseWriter: w, remote: s.remoteOf(r)}
		id := requestID(r)
		rec.Header().Set("X-Request-Id", id)
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), recordKey{}, rec), s.config.RequestTimeout)
		defer cancel()
		defer func() {
			if caught := recover(); caught != nil {
				s.panicked(rec, caught)
			}
			s.report(rec, r, id, time.Since(started))
			s.trace(rec, r, id, started)
		}()
		if s.cors(rec, r) {
			return
		}
		r = r.WithContext(ctx)
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			rec.Header().Set("Cache-Control", "no-store")
			s.joinUnknown(rec, traceOf(r.Header))
		}
		if _, rec.pattern = mux.Handler(r); rec.pattern == "" {
			mux.ServeHTTP(&muxAnswer{record: rec}, r)
			return
		}
		mux.ServeHTTP(rec, r)
	})
}

// requestID is the caller's, if it can be one, or a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); im.ValidID(id) {
		return id
	}
	return im.NewID()
}

// panicked answers internal, if nothing has been answered yet.
func (s *Server) panicked(rec *record, caught any) {
	rec.code = im.Internal
	rec.cause = fmt.Errorf("panic: %v\n%s", caught, debug.Stack())
	if rec.status == 0 {
		writeProblem(rec, problemOfStatus(http.StatusInternalServerError, ""))
	}
}

// report logs a request that failed. What the client did wrong is of interest to
// who looks for it; what we did wrong, to everyone.
func (s *Server) report(rec *record, r *http.Request, id string, took time.Duration) {
	if rec.status < 400 && rec.cause == nil {
		return
	}
	level := slog.LevelDebug
	switch {
	case rec.code == im.Internal || rec.status == http.StatusInternalServerError:
		level = slog.LevelError
	case rec.status >= 500:
		level = slog.LevelWarn
	case rec.code == im.RateLimited:
		level = slog.LevelInfo
	}
	silent, ok := s.complaints.say(failure{rec.pattern, rec.code}, s.config.Now())
	if !ok {
		return
	}
	attributes := []slog.Attr{
		slog.String("request_id", id), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", rec.status), slog.String("remote", rec.remote), slog.Duration("took", took),
	}
	if rec.userID != "" {
		attributes = append(attributes, slog.String("user_id", rec.userID))
	}
	if rec.cause != nil {
		attributes = append(attributes, slog.Any("error", rec.cause))
	}
	if silent > 0 {
		attributes = append(attributes, slog.Int("not_said", silent))
	}
	s.log.LogAttrs(r.Context(), level, "request failed", attributes...)
}

// muxAnswer turns the mux's own answers, 404 and 405 in plain text, into problems.
type muxAnswer struct {
	*record
	written bool
}

// WriteHeader writes the whole problem for a refusal, and passes a redirect on.
func (w *muxAnswer) WriteHeader(status int) {
	if status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
		w.record.WriteHeader(status)
		return
	}
	detail := "there is nothing at this path"
	if status == http.StatusMethodNotAllowed {
		detail = "the method is not allowed here"
	}
	w.written = true
	problem := problemOfStatus(status, detail)
	w.code = problem.Code
	writeProblem(w.record, problem)
}

// Write drops the mux's text.
func (w *muxAnswer) Write(p []byte) (int, error) {
	if w.written {
		return len(p), nil
	}
	return w.record.Write(p)
}
