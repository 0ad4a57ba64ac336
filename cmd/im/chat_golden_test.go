package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what was got with testdata/chat/name.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "chat", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func input(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "chat", name+".input"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func TestChatCommands(t *testing.T) {
	var got strings.Builder
	for _, line := range input(t, "commands") {
		command, err := parseChat(line)
		fmt.Fprintf(&got, "%q\n  ", line)
		switch {
		case err != nil:
			fmt.Fprintln(&got, "error:", err)
		case command.verb == verbNothing:
			fmt.Fprintln(&got, "nothing")
		default:
			fmt.Fprintf(&got, "%s text=%q words=%q count=%d\n", command.verb, command.text, command.words, command.count)
		}
	}
	golden(t, "commands", got.String())
}

func namesForTest(userID string) string {
	if userID == "u-bob" {
		return "bob"
	}
	return userID
}

func TestChatShowsEntries(t *testing.T) {
	view := newChatView("u-me", "here", namesForTest, time.UTC)
	var got strings.Builder
	for _, line := range input(t, "entries") {
		if strings.HasPrefix(line, "#") {
			fmt.Fprintln(&got, line)
			continue
		}
		var entry imv1.Entry
		if err := protojson.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		for _, shown := range view.entry(&entry, entry.GetMessage().GetClientMsgId() == "shown") {
			fmt.Fprintln(&got, shown)
		}
	}
	golden(t, "entries", got.String())
}

func TestChatShowsOutcomesAndConversations(t *testing.T) {
	view := newChatView("u-me", "here", namesForTest, time.UTC)
	last := &imv1.Message{SenderId: "u-bob", SentAtMs: 3600000, Content: client.TextContent("bye")}
	lines := []string{
		view.sent("hi", client.Ack{SentAtMs: 60000}, nil),
		view.sent("hi", client.Ack{}, im.Errorf(im.Forbidden, "you are muted")),
		view.conversation(&client.Conversation{ConversationID: "d1", PeerID: "u-bob", Unread: 2, Mentions: 1, LastMessage: last}),
		view.conversation(&client.Conversation{ConversationID: "g1", Type: "group"}),
		view.conversation(&client.Conversation{ConversationID: "g1", Type: "group", GroupID: "g", GroupName: "Friends"}),
	}
	upto, _ := structpb.NewStruct(map[string]any{"upto": "7"})
	gone, _ := structpb.NewStruct(map[string]any{"user_id": "u-bob", "last_seen_ms": "60000"})
	come, _ := structpb.NewStruct(map[string]any{"user_id": "u-bob", "online": true, "platforms": []any{"ios", "web"}})
	bob := &imv1.SignalFrom{UserId: "u-bob"}
	for _, signal := range []*imv1.Signal{
		{Type: "typing", From: bob}, {Type: "read", From: bob, ConversationId: "g1", Data: upto},
		{Type: "presence", Data: come}, {Type: "presence", Data: gone}, {Type: "odd", From: bob},
	} {
		lines = append(lines, view.signal(signal))
	}
	lines = append(lines,
		view.presence(&imv1.Presence{UserId: "u-bob"}),
		view.deviceLine(&client.Device{DeviceID: "d1", Platform: "web", Name: "Mine", Current: true, Cursor: 7}),
		view.connection(&client.Connection{DeviceID: "d1", Platform: "web", Transport: "tcp", Remote: "10.0.0.1:5", Client: "im/1", OnlineAtMs: 60000}),
		view.connection(&client.Connection{DeviceID: "d1", Platform: "web", Transport: "websocket", Remote: "10.0.0.1:5", OnlineAtMs: 60000, OfflineAtMs: 3600000, Reason: "left"}),
		view.connection(&client.Connection{DeviceID: "d1", Platform: "ios", Transport: "tcp", Remote: "10.0.0.1:5", OnlineAtMs: 60000, Reason: "lost"}),
	)
	p := client.Passport{ConversationSeq: 4, TraceID: "ab", AcceptedAtMs: 60000, SequencedAtMs: 60002}
	lines = append(lines, view.journey(&p))
	for _, d := range []client.Delivery{
		{UserID: "u-me"},
		{UserID: "u-bob", InboxedAtMs: 60003, Read: true, ReadAtMs: 63000, Devices: []client.DeviceDelivery{
			{Platform: "ios", Acked: true, AckedAtMs: 61000}, {Platform: "web", WrittenAtMs: 60500}, {Platform: "desktop"}, {Platform: "tablet", Acked: true},
		}},
		{UserID: "u-bob", InboxedAtMs: 60003, Read: true},
	} {
		lines = append(lines, view.delivery(&p, &d)...)
	}
	golden(t, "outcomes", strings.Join(lines, "\n")+"\n")
}
