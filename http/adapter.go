package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// adapter stands between huma and its adapter to net/http, so that huma refuses
// requests the way the protocol says, without huma's package-level hooks.
type adapter struct{ huma.Adapter }

// Handle registers an operation.
func (a adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	a.Adapter.Handle(op, func(ctx huma.Context) { handler(exchange{ctx}) })
}

// inner is huma.Context under a name that does not hide its method Context.
type inner huma.Context

// exchange is one request and its answer.
type exchange struct{ inner }

// Unwrap gives humago its own context back.
func (e exchange) Unwrap() huma.Context { return e.inner }

// SetStatus writes the protocol's status for huma's.
func (e exchange) SetStatus(status int) { e.inner.SetStatus(statusOf(status)) }

// Header hides the content type: every body is JSON, whatever curl says of it.
func (e exchange) Header(name string) string {
	if strings.EqualFold(name, "Content-Type") {
		return ""
	}
	return e.inner.Header(name)
}

// BodyReader makes every failure to read a time-out: the request did not arrive.
func (e exchange) BodyReader() io.Reader { return body{e.inner.BodyReader()} }

type body struct{ io.Reader }

func (b body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = cutOff{err}
	}
	return n, err
}

// cutOff is a net.Error that is a time-out.
type cutOff struct{ error }

func (cutOff) Timeout() bool   { return true }
func (cutOff) Temporary() bool { return true }

// jsonFormat reads and writes bodies. Its errors are for the client.
var jsonFormat = huma.Format{Marshal: encodeJSON, Unmarshal: decodeJSON}

// encodeJSON writes at once, so that an error is never in the middle of an answer;
// that the client has gone is none.
func encodeJSON(w io.Writer, from any) error {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(from); err != nil {
		return err
	}
	w.Write(buffer.Bytes()) //nolint:errcheck // the client has gone
	return nil
}

func decodeJSON(data []byte, into any) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	if string(bytes.TrimSpace(data)) == "null" { // which json takes for anything
		return errors.New("not a JSON object")
	}
	err := json.Unmarshal(data, into)
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d", syntax.Offset)
	case errors.As(err, &wrong) && wrong.Field == "":
		return errors.New("not a JSON object")
	case errors.As(err, &wrong):
		return fmt.Errorf("%s can not be a %s", wrong.Field, wrong.Value)
	}
	return err
}
