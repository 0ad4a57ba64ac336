package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// sendTo accepts texts for a user and returns their outcomes to come.
func sendTo(t *testing.T, c *Client, user string, texts ...string) []*Sending {
	t.Helper()
	var list []*Sending
	for _, text := range texts {
		sending, err := c.SendAsync(t.Context(), ToUser(user), TextContent(text), SendOptions{ClientMsgID: text})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, sending)
	}
	return list
}

// expectSends expects sends given as "id" or "id after predecessor".
func (p *peer) expectSends(want ...string) {
	p.t.Helper()
	for _, w := range want {
		_, send := p.send()
		got := send.GetClientMsgId()
		if send.GetAfter() != "" {
			got += " after " + send.GetAfter()
		}
		if got != w {
			p.t.Fatalf("sent %q, want %q", got, w)
		}
	}
}

func TestASendIsAnswered(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)
		go func() {
			_, send := p.send()
			p.ack(send, 5)
		}()
		ack, err := c.Send(t.Context(), ToUser("bob"), TextContent("hi"), SendOptions{})
		if err != nil || ack.ConversationSeq != 5 || ack.MessageID != 7005 || len(ack.ClientMsgID) != 36 {
			t.Fatal(ack, err)
		}
	})
}

func TestEachSendNamesItsUnacknowledgedPredecessor(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)

		sendTo(t, c, "bob", "a", "b")
		sendTo(t, c, "carol", "x")
		p.expectSends("a", "b after a", "x")

		// The same conversation by its id keeps the order.
		conversation := im.DirectConversation("alice", "bob")
		c.SendAsync(t.Context(), ToConversation(conversation), TextContent("c"), SendOptions{ClientMsgID: "c"}) //nolint:errcheck // its frame is looked at
		p.expectSends("c after b")

		for _, id := range []string{"a", "b", "c"} {
			p.ack(&imv1.Send{ClientMsgId: id}, 1)
		}
		synctest.Wait()
		sendTo(t, c, "bob", "d")
		p.expectSends("d")
	})
}

func TestAReconnectResendsInOrderBeforeAnythingNew(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)

		list := sendTo(t, c, "bob", "a", "b", "c")
		p.expectSends("a", "b after a", "c after b")
		p.ack(&imv1.Send{ClientMsgId: "a"}, 1)
		synctest.Wait()
		p.close()
		synctest.Wait()
		list = append(list, sendTo(t, c, "bob", "d")...)

		p = f.accept()
		p.welcome(nil)
		p.expectSends("b", "c after b", "d after c")
		for seq, id := range []string{"b", "c", "d"} {
			p.ack(&imv1.Send{ClientMsgId: id}, int64(seq+2))
		}
		for i, sending := range list {
			if ack, err := sending.Wait(t.Context()); err != nil || ack.ConversationSeq != int64(i+1) {
				t.Fatal(ack, err)
			}
		}
	})
}

func TestARetryKeepsItsIDAndItsPlace(t *testing.T) {
	for _, code := range []im.Code{im.RateLimited, im.Unavailable, im.Internal} {
		t.Run(string(code), func(t *testing.T) {
			story(t, func(t *testing.T, f *fake) {
				c := f.client(nil)
				defer closeClient(t, c)
				p := f.connected(c, nil)

				sendTo(t, c, "bob", "a", "b")
				first, _ := p.send()
				second, _ := p.send()
				p.refuse(first, code, 2*time.Second)
				p.refuse(second, im.OutOfOrder, 0) // what was in flight behind it
				began := time.Now()
				p.expectSends("a", "b after a")
				if waited := time.Since(began); waited < 2*time.Second || waited > 3*time.Second {
					t.Fatalf("tried again after %s", waited)
				}
				p.nothing()
			})
		})
	}
}

func TestOutOfOrderIsResentFromTheNamedOne(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)

		sendTo(t, c, "bob", "a", "b", "c", "d")
		p.expectSends("a", "b after a")
		frame, _ := p.send()
		p.refuse(frame, im.OutOfOrder, 0)
		p.expectSends("d after c", "b after a", "c after b", "d after c")
	})
}

func TestARefusalIsFinalAndFreesThoseBehind(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		outcomes := map[string]error{}
		c := f.client(func(config *Config) {
			config.Hooks.OnSent = func(id string, _ Ack, err error) { outcomes[id] = err }
		})
		defer closeClient(t, c)
		p := f.connected(c, nil)

		list := sendTo(t, c, "bob", "a", "b", "c")
		p.expectSends("a")
		second, _ := p.send()
		third, _ := p.send()
		p.refuse(second, im.Forbidden, 0)
		p.refuse(third, im.OutOfOrder, 0)
		p.expectSends("c after a")
		p.nothing()

		var refusal *im.Error
		if _, err := list[1].Wait(t.Context()); !errors.As(err, &refusal) || refusal.Code != im.Forbidden {
			t.Fatal(err)
		}
		if outcomes["b"] == nil || len(outcomes) != 1 {
			t.Fatal(outcomes)
		}
	})
}

func TestSendsWaitForRoom(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(func(config *Config) { config.MaxUnacknowledged = 2 })
		defer closeClient(t, c)
		p := f.connected(c, nil)

		sendTo(t, c, "bob", "a", "b")
		p.expectSends("a", "b after a")
		accepted := make(chan error, 3)
		for i := range 3 {
			go func() {
				_, err := c.SendAsync(t.Context(), ToUser("bob"), TextContent("more"), SendOptions{ClientMsgID: fmt.Sprint(i)})
				accepted <- err
			}()
		}
		p.nothing()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.SendAsync(ctx, ToUser("bob"), TextContent("late"), SendOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		p.ack(&imv1.Send{ClientMsgId: "a"}, 1)
		p.ack(&imv1.Send{ClientMsgId: "b"}, 2)
		for range 2 {
			if err := <-accepted; err != nil {
				t.Fatal(err)
			}
		}
		_, one := p.send()
		p.ack(one, 3)
		if err := <-accepted; err != nil {
			t.Fatal(err)
		}
	})
}

func TestWhatNoFrameHoldsIsRefusedHere(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)

		wide := map[string]string{}
		for i := range 6 {
			wide[fmt.Sprint(i)] = strings.Repeat("v", 1024)
		}
		big := TextContent(strings.Repeat("x", im.MaxContentBytes-20))
		var refusal *im.Error
		_, err := c.Send(t.Context(), ToUser("bob"), big, SendOptions{Attributes: wide})
		if !errors.As(err, &refusal) || refusal.Code != im.TooLarge {
			t.Fatal(err)
		}
		_, err = c.Send(t.Context(), ToUser("bob"), TextContent(strings.Repeat("x", im.MaxContentBytes)), SendOptions{})
		if !errors.As(err, &refusal) || refusal.Code != im.TooLarge {
			t.Fatal(err)
		}
		sendTo(t, c, "bob", "small")
		p.expectSends("small")
	})
}

func TestFlushWaitsForEveryOutcome(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)
		sendTo(t, c, "bob", "a", "b")
		flushed := make(chan error, 1)
		go func() { flushed <- c.Flush(t.Context()) }()
		p.expectSends("a", "b after a")
		p.ack(&imv1.Send{ClientMsgId: "b"}, 2)
		p.nothing()
		if len(flushed) != 0 {
			t.Fatal("flushed too early")
		}
		p.ack(&imv1.Send{ClientMsgId: "a"}, 1)
		if err := <-flushed; err != nil {
			t.Fatal(err)
		}
	})
}

func TestUUIDsAreVersion7(t *testing.T) {
	now := time.UnixMilli(0x0123456789ab)
	id := newUUID(now)
	if !strings.HasPrefix(id, "01234567-89ab-7") || !strings.ContainsRune("89ab", rune(id[19])) || len(id) != 36 {
		t.Fatal(id)
	}
	if id == newUUID(now) {
		t.Fatal("twice the same")
	}
}
