package session

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/proto/codec"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// headerPatience is how long a transfer has to say that it takes a stream.
const headerPatience = time.Second

// peer keeps a stream to one transfer, opening it again whenever it breaks, until
// the transfer is no longer listed.
type peer struct {
	link    *Link
	server  im.Server
	ctx     context.Context
	cancel  context.CancelFunc
	leaving atomic.Bool

	failing bool   // the last try did; run's own, as the next
	hint    string // what was logged last of why
}

func newPeer(l *Link, server im.Server) *peer {
	ctx, cancel := context.WithCancel(l.ctx)
	return &peer{link: l, server: server, ctx: ctx, cancel: cancel}
}

// dismiss gives the stream a little time to end by itself.
func (p *peer) dismiss() {
	p.leaving.Store(true)
	time.AfterFunc(leavingPatience, p.cancel)
}

func (p *peer) dismissed() bool { return p.leaving.Load() }

func (p *peer) run() {
	defer p.link.running.Done()
	defer p.cancel()
	for misses := 0; p.ctx.Err() == nil && !p.dismissed(); misses++ {
		began := time.Now()
		if err := p.connect(); err == nil {
			p.failing = false
		} else if p.ctx.Err() == nil {
			p.failed(err)
		}
		if time.Since(began) > time.Second {
			misses = 0
		}
		select {
		case <-time.After(backoff(misses)):
		case <-p.ctx.Done():
		}
	}
}

// failed notes why the transfer can not be reached, for who asks whether we are ready,
// and logs it when it begins or is for another reason.
func (p *peer) failed(err error) {
	l, hint := p.link, ""
	if l.config.Explain != nil {
		hint = l.config.Explain(err)
	}
	if !p.failing || hint != p.hint {
		l.log.Warn("a transfer can not be reached", "transfer", p.server.ID, "address", p.server.Address, "look_at", hint, "error", err)
	}
	p.failing, p.hint = true, hint
	if hint != "" {
		err = fmt.Errorf("%w (%s)", err, hint)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble = fmt.Errorf("the transfer at %s can not be reached: %w", p.server.Address, err)
}

// connect opens a stream and serves it until it breaks.
func (p *peer) connect() error {
	conn, err := p.link.config.Dial(p.ctx, p.server.Address)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	if closer, ok := conn.(io.Closer); ok {
		defer closer.Close()
	}
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	client := imv1.NewTransferClient(conn)
	rpc, err := client.Connect(ctx, grpc.ForceCodecV2(codec.New()))
	if err != nil {
		return fmt.Errorf("open the stream: %w", err)
	}
	hello := &imv1.Hello{ServerId: p.link.config.ServerID, Role: p.link.config.Role, TransferId: p.server.ID}
	if err := rpc.Send(&imv1.ToTransfer{Hello: hello}); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	if err := answered(rpc); err != nil {
		return fmt.Errorf("wait for the transfer: %w", err)
	}
	newStream(p, client, rpc).serve(cancel)
	return nil
}

// answered waits until the transfer has taken the stream, which its header says;
// one that sends none until it has something to say is believed after a second.
func answered(rpc grpc.BidiStreamingClient[imv1.ToTransfer, imv1.ToGateway]) error {
	opened := make(chan bool, 1)
	go func() {
		header, err := rpc.Header()
		opened <- err == nil && header != nil
	}()
	select {
	case ok := <-opened:
		if ok {
			return nil
		}
		_, err := rpc.Recv()
		return err
	case <-time.After(headerPatience):
		return nil
	}
}
