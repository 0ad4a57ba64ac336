package test

import (
	"os"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/deploy/local"
)

// While there is no room for what is sent, it is refused for now, and what is there
// can be read. With room again everything goes on, and nothing that was acknowledged
// is lost, also when the server is killed before there is any.
func TestTheDiskIsFullWhileTwentyConnectionsSend(t *testing.T) {
	t.Parallel()
	if err := local.CanMakeDisk(); err != nil {
		if os.Getenv("IM_TEST_REQUIRE") == "all" && os.Getuid() == 0 {
			t.Fatal(err)
		}
		t.Skipf("%v (IM_TEST_REQUIRE=all makes this a failure for root)", err)
	}
	s := startProcess(t, nil, func(o *local.Options) { o.Disk = 256 << 20 })
	disk := s.process.Disk
	r := crowd(t, s)
	outsider := s.users("outsider")[0]
	tokens := s.tokens(outsider, "a", "ios")
	const each = 80
	talking := r.chatter(each)
	first := r.devices[0]
	for _, killed := range []bool{false, true} {
		first.mu.Lock()
		want := first.acked + each/2
		first.mu.Unlock()
		first.until("some more", func() bool { return first.acked >= want })

		if err := disk.Fill(t.Context()); err != nil {
			t.Fatal(err)
		}

		s.refusesForNow(outsider, tokens)
		if _, err := s.api().WithToken(tokens.AccessToken).Inbox(t.Context(), client.InboxQuery{After: new(int64)}); err != nil {
			t.Errorf("sync on a full disk: %v", err)
		}
		if killed {
			s.kill()
		}
		if err := disk.Free(t.Context()); err != nil {
			t.Fatal(err)
		}
		if killed {
			s.startProcess()
		}
	}
	talking.Wait()
	r.settle(each)
}

// refusesForNow makes sure that a message is refused with the code that says so.
// What was there of room may be enough for a few.
func (s *server) refusesForNow(to string, tokens client.Tokens) {
	s.t.Helper()
	late := time.After(patience)
	for {
		_, err := s.api().WithToken(tokens.AccessToken).SendMessage(s.t.Context(), text(to, im.NewID(), "is there room?"))
		if codeOf(err) == im.Unavailable {
			return
		}
		if err != nil {
			s.t.Fatalf("a send on a full disk is answered with %v", err)
		}
		select {
		case <-late:
			s.t.Fatal("sends are taken on a full disk")
		default:
		}
	}
}
