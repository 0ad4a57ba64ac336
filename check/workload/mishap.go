package workload

import (
	"context"
	"time"

	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// do does a step of the script. What needs a connection that is not there is passed
// over, sends excepted: they wait.
func (d *device) do(s *step, now time.Time) {
	d.tally.actions[s.do]++
	switch s.do {
	case send:
		d.compose(s)
	case sendHTTP:
		d.sendHTTP(s)
	case loseAck:
		d.compose(s)
		d.flush(now)
		d.away(s.span, d.dice.IntN(2) == 0)
	case repeat, repeatHTTP:
		d.repeat(s.do == repeatHTTP)
	case read:
		d.markRead()
	case cut:
		d.away(s.span, true)
	case leave:
		d.away(s.span, false)
	case forget:
		d.forget = true
		d.away(s.span, d.dice.IntN(2) == 0)
	case move:
		if d.current != nil && d.next == nil && !d.dialling {
			d.dial()
		}
	case stall:
		d.stalled, d.absent = now.Add(s.span), true
	case withhold:
		d.silent, d.absent = now.Add(s.span), true
	case refresh:
		d.refresh()
	case alter:
		d.alter()
	case change:
		d.changeMembers(s)
	}
}

// away ends the connection and stays away. The frames that it has not read are lost,
// and with them the acks of what it has just sent.
func (d *device) away(span time.Duration, reset bool) {
	d.drop(d.current, reset)
	d.drop(d.next, reset)
	d.current, d.next, d.absent, d.failed = nil, nil, true, ""
	d.stalled, d.silent = time.Time{}, time.Time{}
	d.dialAt = time.Now().Add(span)
}

// sendHTTP sends a message by HTTP, and now and then over the connection at the same
// time, as a client does that has lost its patience.
func (d *device) sendHTTP(s *step) {
	m, before := d.compose(s)
	if d.calling {
		return // over the connection, then
	}
	d.post(m, before)
	m.out = d.dice.IntN(3) > 0
}

// repeat sends a message again that has been acknowledged: mostly one of the last, or
// any. The answer must be the first one's.
func (d *device) repeat(http bool) {
	if len(d.stored) == 0 {
		return
	}
	among := len(d.stored)
	if d.dice.IntN(4) > 0 {
		among = min(among, 16)
	}
	m := d.stored[len(d.stored)-1-d.dice.IntN(among)]
	switch {
	case http && !d.calling:
		d.post(m, nil)
	case !http && d.current != nil && len(d.current.sends) < sendWindow:
		d.send(m, nil)
	}
}

// refresh turns the refresh token into new tokens and shows them to the live session.
// Where the answer gets lost the old ones stay; once they are not taken any more the
// device logs in anew.
func (d *device) refresh() {
	if d.calling {
		return
	}
	d.calling = true
	old, ctx := d.tokens, d.work
	d.aside(func() func() {
		var tokens client.Tokens
		err := d.run.servers.call(ctx, "", func(ctx context.Context, api *client.API) (err error) {
			tokens, err = api.Refresh(ctx, old.RefreshToken)
			return err
		})
		return func() { d.refreshed(old, tokens, err) }
	})
}

func (d *device) refreshed(old, tokens client.Tokens, err error) {
	d.calling = false
	if err != nil || d.tokens.AccessToken != old.AccessToken { // a log-in was faster
		return
	}
	d.tokens = tokens
	if d.current == nil {
		return
	}
	d.write(d.current, wire.OpAuth, &imv1.Auth{
		Token: tokens.AccessToken, DeviceId: d.id, Platform: d.platform, Protocol: 1, Client: &imv1.ClientInfo{Name: "im check"},
	})
}
