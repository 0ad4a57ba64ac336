package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/im-transfer/im"
)

// maxAnswer bounds what is read of an answer: a page of 200 entries of 60 KiB in
// JSON fits.
const maxAnswer = 32 << 20

// maxSaid bounds what an error repeats of an answer that is not the API's.
const maxSaid = 200

// API calls the HTTP API of a server. Errors that the server answers are
// *im.Error; all others mean that no answer was had. It is safe for concurrent
// use; every call is bounded by its context alone.
type API struct {
	server string
	http   *http.Client
	token  func() string
	key    string
}

// NewAPI returns an API for a server's base URL, such as
// "http://127.0.0.1:8080". A nil httpClient is http.DefaultClient.
func NewAPI(server string, httpClient *http.Client) *API {
	if httpClient == nil {
		httpClient = http.DefaultClient
	}
	return &API{server: strings.TrimRight(server, "/"), http: httpClient, token: func() string { return "" }}
}

// WithToken returns an API that sends this access token, or service key.
func (a *API) WithToken(token string) *API {
	return a.withTokens(func() string { return token })
}

// WithKey returns an API that sends an Idempotency-Key with what changes something: as
// the client_msg_id of a send, it makes a repeat of the call do what the first one did,
// once. It is 1 to 64 bytes, and another one for every change.
func (a *API) WithKey(key string) *API {
	with := *a
	with.key = key
	return &with
}

func (a *API) withTokens(token func() string) *API {
	with := *a
	with.token = token
	return &with
}

// call makes a request and decodes its answer into out: a proto.Message by the
// protobuf JSON mapping, nil to ignore it, anything else by encoding/json.
func (a *API) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	request, err := a.request(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	response, err := a.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	if response.StatusCode >= 300 {
		return problem(response, body)
	}
	if err := decode(body, out); err != nil {
		return fmt.Errorf("decode the answer to %s %s: %w", method, path, err)
	}
	return nil
}

func (a *API) request(ctx context.Context, method, path string, query url.Values, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		data, err := encode(in)
		if err != nil {
			return nil, fmt.Errorf("encode %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	target := a.server + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.key != "" && method != http.MethodGet {
		request.Header.Set("Idempotency-Key", a.key)
	}
	if token := a.token(); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return request, nil
}

func encode(in any) ([]byte, error) {
	if message, ok := in.(proto.Message); ok {
		return protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	}
	return json.Marshal(in)
}

func decode(body []byte, out any) error {
	if out == nil {
		return nil
	}
	if message, ok := out.(proto.Message); ok {
		return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, message)
	}
	return json.Unmarshal(body, out)
}

// problem makes the error of a problem+json answer, or, where something between
// here and the server answered, one from the status alone.
func problem(response *http.Response, body []byte) *im.Error {
	var p struct {
		Title        string `json:"title"`
		Code         string `json:"code"`
		Detail       string `json:"detail"`
		RetryAfterMs number `json:"retry_after_ms"`
	}
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		p.Code, p.Detail = string(codeOfStatus(response.StatusCode)), response.Status
		kind := response.Header.Get("Content-Type") // Go's own says nothing where it is spoken to without TLS
		if said := strings.TrimSpace(string(body)); said != "" && len(said) <= maxSaid && (kind == "" || strings.HasPrefix(kind, "text/plain")) {
			p.Detail += ": " + said
		}
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	after := retryAfter(int64(p.RetryAfterMs))
	if seconds, err := strconv.ParseInt(response.Header.Get("Retry-After"), 10, 32); err == nil && after == 0 {
		after = retryAfter(1000 * seconds)
	}
	return im.Retry(im.Code(p.Code), after, p.Detail)
}

// codeOfStatus is the code of an answer that is not the API's: of a proxy that is being
// configured anew, say, which decides nothing for good.
func codeOfStatus(status int) im.Code {
	switch status {
	case http.StatusUnauthorized:
		return im.Unauthenticated
	case http.StatusRequestEntityTooLarge:
		return im.TooLarge
	case http.StatusTooManyRequests:
		return im.RateLimited
	}
	return im.Unavailable
}

// number is an int64 that the wire may give as a JSON number or string.
type number int64

func (n *number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	value, err := strconv.ParseInt(strings.Trim(string(data), `"`), 10, 64)
	if err != nil {
		return errors.New("not a whole number")
	}
	*n = number(value)
	return nil
}
