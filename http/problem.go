package http

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const problemType = "application/problem+json"

// Problem is the body of every answer that is an error (RFC 9457).
type Problem struct {
	Type         string  `json:"type" doc:"Always about:blank."`
	Title        string  `json:"title" doc:"The status in words."`
	Status       int     `json:"status" doc:"The HTTP status."`
	Code         im.Code `json:"code" enum:"unauthenticated,forbidden,not_found,invalid,too_large,conflict,rate_limited,unavailable,internal,out_of_order" doc:"What a program goes by."`
	Detail       string  `json:"detail" doc:"What a person may read."`
	RetryAfterMs int32   `json:"retry_after_ms,omitempty" doc:"When to try again, with the same id; milliseconds."`
}

// newProblem puts an answer into its form. Codes that ask for a retry always say
// when.
func newProblem(status int, e *im.Error) *Problem {
	after := e.RetryAfter
	if after <= 0 && status >= 429 {
		after = time.Second
	}
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: e.Code, Detail: e.Message, RetryAfterMs: int32(min(after, 24*time.Hour).Milliseconds()), //nolint:gosec // a day fits
	}
}

// problemOf returns what a user sees of an error. Outcomes that nobody knows are
// unavailable; what we did not foresee is internal and says nothing.
func problemOf(err error) *Problem {
	var e *im.Error
	if !errors.As(err, &e) {
		switch {
		case errors.Is(err, im.ErrUnknown), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			e = im.Retry(im.Unavailable, time.Second, "the server could not finish in time")
		default:
			e = im.AsError(err)
		}
	}
	return newProblem(e.Code.Status(), e)
}

// problemOfStatus returns the problem for what huma or the mux refused.
func problemOfStatus(status int, detail string) *Problem {
	status = statusOf(status)
	code := im.Internal
	switch status {
	case http.StatusMethodNotAllowed, http.StatusBadRequest:
		code = im.Invalid
	case http.StatusNotFound:
		code = im.NotFound
	case http.StatusRequestEntityTooLarge:
		code, detail = im.TooLarge, "the request's body is too large"
	case http.StatusServiceUnavailable:
		code, detail = im.Unavailable, "the request did not arrive in time"
	default:
		detail = "internal error"
	}
	return newProblem(status, im.Errorf(code, "%s", detail))
}

// statusOf maps the statuses that huma refuses requests with to the protocol's:
// whatever is wrong with the form of a request is invalid.
func statusOf(status int) int {
	switch status {
	case http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType, http.StatusNotAcceptable:
		return http.StatusBadRequest
	case http.StatusRequestTimeout:
		return http.StatusServiceUnavailable
	}
	return status
}

// Error, GetStatus, ContentType and GetHeaders let huma write a problem that a
// handler returned.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problems.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders are the headers that repeat what the body says.
func (p *Problem) GetHeaders() http.Header {
	headers := http.Header{}
	if p.RetryAfterMs > 0 {
		headers.Set("Retry-After", strconv.Itoa(int(p.RetryAfterMs+999)/1000))
	}
	if p.Status == http.StatusUnauthorized {
		headers.Set("WWW-Authenticate", "Bearer")
	}
	return headers
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, p *Problem) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) //nolint:errcheck // the client has gone
}

// translate is a huma transformer: it gives huma's own refusals our form. Values
// are left out, for they may be secrets; what is wrong goes into the log too.
func translate(ctx huma.Context, _ string, body any) (any, error) {
	model, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	details := make([]string, 0, len(model.Errors))
	for _, e := range model.Errors {
		details = append(details, strings.TrimPrefix(e.Location+": "+e.Message, ": "))
	}
	if len(details) == 0 {
		details = append(details, model.Detail)
	}
	cause := strings.Join(details, "; ")
	problem := problemOfStatus(model.Status, cause)
	rec := recordOf(ctx.Context())
	rec.code, rec.cause = problem.Code, errors.New(cause)
	return problem, nil
}

// pipelineError is what a client sees of an error that the pipeline answered.
func pipelineError(e *imv1.Error) error {
	return im.Retry(im.Code(e.GetCode()), time.Duration(e.GetRetryAfterMs())*time.Millisecond, e.GetMessage())
}
