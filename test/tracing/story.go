package tracing

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// System is one that runs.
type System struct {
	HTTP       string // base URL of an http server
	ServiceKey string
	Zipkin     string // its address
}

// Tell sends one message by HTTP, with a trace that the client forces, to somebody
// with a device on WebSocket and one on TCP, asks Zipkin for the trace, and judges
// it.
func Tell(t *testing.T, s System) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	web := &http.Client{Transport: transport, Timeout: patience}
	service := client.NewAPI(s.HTTP, web).WithToken(s.ServiceKey)
	users, err := service.EnsureUsers(t.Context(), []client.NewUser{{Username: "sender" + digits(8)}, {Username: "reader" + digits(8)}})
	if err != nil {
		t.Fatal(err)
	}
	sender, err := service.ServiceTokens(t.Context(), users[0].UserID, "script", "other")
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan *imv1.Message, 16)
	for platform, transport := range map[string]string{"web": client.WebSocket, "android": client.TCP} {
		tokens, err := service.ServiceTokens(t.Context(), users[1].UserID, platform, platform)
		if err != nil {
			t.Fatal(err)
		}
		connect(t, client.Config{
			Server: s.HTTP, Tokens: tokens, DeviceID: platform, Platform: platform, Transport: transport,
			Handler: reader{arrived: arrived}, HTTPClient: web,
		})
	}

	traceID, spanID := digits(32), digits(16)
	ack := send(t, web, s.HTTP, sender.AccessToken, users[1].UserID, traceID+"-"+spanID+"-1")
	for range 2 {
		if m := <-arrived; strconv.FormatInt(m.MessageId, 10) != ack.MessageID {
			t.Fatalf("message %d arrived, %s was sent", m.MessageId, ack.MessageID)
		}
	}
	spans := Await(t, s.Zipkin, traceID, map[string]int{
		"post /v1/messages": 1, "accept": 1, "publish": 1, "sequence": 1, "store": 1, "fan-out": 1, "inbox": 1, "push": 2, "deliver": 2, "ack": 2,
	})
	Judge(t, spans, Message{ID: ack.MessageID, ConversationID: ack.ConversationID, Parent: spanID})
	batchesNameTheirMessages(t, s.Zipkin, spans)
}

// digits returns random hexadecimal digits.
func digits(n int) string {
	id := make([]byte, n)
	for i := range id {
		id[i] = "123456789abcdef"[rand.IntN(15)]
	}
	return string(id)
}

// reader is a device that tells what has arrived.
type reader struct {
	client.NopHandler
	arrived chan<- *imv1.Message
}

// Entry takes an entry, which is then acknowledged.
func (r reader) Entry(_ context.Context, entry *imv1.Entry) error {
	if entry.Message != nil {
		r.arrived <- entry.Message
	}
	return nil
}

func connect(t *testing.T, config client.Config) {
	t.Helper()
	device, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := device.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := device.Connect(ctx); err != nil {
		t.Fatal(err)
	}
}

// sendAck is the answer to a message that was sent by HTTP.
type sendAck struct {
	MessageID      string `json:"message_id"`
	ConversationID string `json:"conversation_id"`
}

func send(t *testing.T, web *http.Client, server, token, to, b3 string) sendAck {
	t.Helper()
	body := `{"to":{"user_id":"` + to + `"},"content":{"type":"text","text":"follow me"}}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/v1/messages", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("B3", b3)
	answer, err := web.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("send: %s, %v: %s", answer.Status, err, text)
	}
	if trace, _, _ := strings.Cut(b3, "-"); !strings.HasPrefix(answer.Header.Get("B3"), trace+"-") {
		t.Errorf("the answer says trace %q, asked for %q", answer.Header.Get("B3"), b3)
	}
	var ack sendAck
	if err := json.Unmarshal(text, &ack); err != nil {
		t.Fatal(err)
	}
	return ack
}
