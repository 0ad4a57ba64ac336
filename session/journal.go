package session

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

const (
	journalEvery = time.Second     // how long lines gather
	journalBatch = 512             // lines told at once
	maxJournal   = 65536           // lines that wait; more are lost
	journalPause = 5 * time.Second // before lines that nobody has taken are told again
	lastWords    = 2 * time.Second // for what waits when a hub stops
	maxAgent     = 256             // bytes of a user agent, and of what a client says it is
	endLeft      = 1 << 6          // Session.ended, where it is no disconnect code's number
	endLost      = 1<<6 + 1
)

// journal tells the transfers of the beginnings and ends of a hub's connections, some time
// later and many at once: nothing that a session does waits for it.
type journal struct {
	link *Link
	ctx  context.Context // of all but the last words

	mu      sync.Mutex
	waiting []*imv1.Connection
	timer   *time.Timer // runs tell; nil = nothing waits, or it is being told
	telling bool
	closed  bool
	told    sync.WaitGroup
}

// add takes a line.
func (j *journal) add(c *imv1.Connection) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) >= maxJournal {
		return
	}
	j.waiting = append(j.waiting, c)
	j.arm(journalEvery)
}

// arm has what waits told after a time. The caller holds mu.
func (j *journal) arm(after time.Duration) {
	if j.timer == nil && !j.telling && !j.closed {
		j.told.Add(1)
		j.timer = time.AfterFunc(after, func() {
			defer j.told.Done()
			j.tell(j.ctx)
		})
	}
}

// tell tells what waits, until nothing does or nobody takes it.
func (j *journal) tell(ctx context.Context) {
	pause := journalEvery
	for lines := j.take(); len(lines) > 0; lines = j.take() {
		if err := j.link.Record(ctx, &imv1.RecordRequest{Connections: lines}); err != nil {
			j.giveBack(lines)
			pause = journalPause
			break
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.telling = false
	if len(j.waiting) > 0 {
		j.arm(pause)
	}
}

func (j *journal) take() []*imv1.Connection {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.timer, j.telling = nil, true
	n := min(len(j.waiting), journalBatch)
	lines := j.waiting[:n:n]
	j.waiting = j.waiting[n:]
	return lines
}

func (j *journal) giveBack(lines []*imv1.Connection) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting = append(lines, j.waiting...)
}

// close tells what waits for the last time.
func (j *journal) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	j.mu.Lock()
	was := j.closed
	j.closed = true
	if j.timer != nil && j.timer.Stop() {
		j.told.Done()
		j.timer = nil
	}
	j.mu.Unlock()
	if was {
		return
	}
	j.told.Wait()
	j.tell(ctx)
}

// Record has lines of the journal kept by any transfer.
func (l *Link) Record(ctx context.Context, request *imv1.RecordRequest) error {
	_, err := unary(ctx, l, nil, request, imv1.TransferClient.Record)
	return err
}

// id is the session's id. It begins with that of its server.
func (s *Session) id() string {
	return s.hub.link.config.ServerID + "." + strconv.FormatUint(s.number, 36)
}

// began writes the session's beginning into the journal. The caller holds mu.
func (s *Session) began(auth *imv1.Auth) {
	s.sinceMs = s.hub.wall()
	line := s.line()
	line.Client = clip(strings.Trim(auth.GetClient().GetName()+"/"+auth.GetClient().GetVersion(), "/"))
	if c, ok := s.conn.(interface{ UserAgent() string }); ok {
		line.UserAgent = clip(c.UserAgent())
	}
	s.hub.journal.add(line)
}

// writeEnd writes its end, if it has begun.
func (s *Session) writeEnd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sinceMs == 0 {
		return
	}
	line := s.line()
	line.OfflineAtMs, line.Reason = max(s.hub.wall(), s.sinceMs), endReason(s.ended)
	s.hub.journal.add(line)
}

func (s *Session) line() *imv1.Connection {
	return &imv1.Connection{
		UserId: s.user, SessionId: s.id(), DeviceId: s.device, Platform: s.platform, Transport: s.hub.link.config.Role,
		Remote: s.conn.NetConn().RemoteAddr().String(), OnlineAtMs: s.sinceMs,
	}
}

// endReason says why a session has ended.
func endReason(ended uint8) string {
	for _, row := range im.DisconnectCodes {
		if row.Number == int(ended) {
			return string(row.Code)
		}
	}
	if ended == endLeft {
		return im.EndLeft
	}
	return im.EndLost
}

// clip keeps what a client says short and printable.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, text)
	if len(text) > maxAgent {
		text = strings.ToValidUTF8(text[:maxAgent], "")
	}
	return text
}

// wall is the time of the journal, which steps of the clock do not move.
func (h *Hub) wall() int64 { return h.began.Add(h.now()).UnixMilli() }
