package codec_test

import (
	"testing"

	"google.golang.org/grpc/encoding"
	standard "google.golang.org/grpc/encoding/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/im-transfer/im/proto/codec"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// What one codec writes, gRPC's own reads, and the other way round.
func TestUnderstoodByGRPC(t *testing.T) {
	large := &imv1.PullReply{Entries: [][]byte{make([]byte, 100_000)}, Head: 5}
	messages := []proto.Message{
		&imv1.ToTransfer{Acks: []*imv1.Acked{{Session: 3, Seq: 9}}}, &imv1.ToTransfer{}, large, wrapperspb.String("no generated methods"),
	}
	ours, theirs := codec.New(), encoding.GetCodecV2(standard.Name)
	if ours.Name() != theirs.Name() {
		t.Errorf("named %q", ours.Name())
	}
	for _, m := range messages {
		for _, pair := range [][2]encoding.CodecV2{{ours, theirs}, {theirs, ours}} {
			data, err := pair[0].Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			got := m.ProtoReflect().New().Interface()
			if err := pair[1].Unmarshal(data, got); err != nil || !proto.Equal(got, m) {
				t.Errorf("%T: %v", m, err)
			}
			data.Free()
		}
	}
}

// What is no message is refused.
func TestRefuses(t *testing.T) {
	c := codec.New()
	if _, err := c.Marshal("text"); err == nil {
		t.Error("encoded a string")
	}
	data, err := c.Marshal(&imv1.Hello{ServerId: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Unmarshal(data, new(string)) == nil {
		t.Error("decoded into a string")
	}
	if bad, _ := c.Marshal(wrapperspb.String("\x05")); c.Unmarshal(bad, &imv1.Target{}) == nil {
		t.Error("decoded another message")
	}
}
