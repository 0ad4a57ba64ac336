package etcd

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// mirror keeps the registry's view. Only its goroutine, and before that Open, uses
// it.
type mirror struct {
	registry *Registry
	revision int64 // what the view shows
	events   clientv3.WatchChan
	unwatch  context.CancelFunc
	unread   map[string]bool // keys of rows that can not be read, as logged
	away     time.Time       // since when etcd does not answer
}

// run reads all keys twice within the silence that is still none, and follows
// changes in between. It ends with the registry.
func (m *mirror) run() {
	r := m.registry
	tick := time.NewTicker(r.view.silence() / 2)
	defer tick.Stop()
	m.watch()
	defer func() { m.unwatch() }()
	for {
		select {
		case <-tick.C:
			m.ask()
		case answer, open := <-m.events:
			if !open || answer.Err() != nil {
				m.unwatch()
				m.events = nil // until the next reading
				continue
			}
			m.apply(answer)
		case <-r.ctx.Done():
			return
		}
	}
}

// ask reads all keys, and says so once when etcd stops answering.
func (m *mirror) ask() {
	r := m.registry
	ctx, cancel := context.WithTimeout(r.ctx, 2*r.view.silence())
	defer cancel()
	err := m.read(ctx)
	switch {
	case r.ctx.Err() != nil:
	case err != nil && m.away.IsZero():
		m.away = time.Now()
		r.log.Warn("etcd does not answer; the last list of servers stands", "error", err)
	case err == nil && !m.away.IsZero():
		r.log.Info("etcd answers again", "away", time.Since(m.away).Round(time.Millisecond))
		m.away = time.Time{}
	}
	if err == nil && m.events == nil {
		m.watch()
	}
}

// watch follows the changes after what has been read. It blocks while etcd is away,
// when there is nothing to follow.
func (m *mirror) watch() {
	r := m.registry
	var ctx context.Context
	ctx, m.unwatch = context.WithCancel(clientv3.WithRequireLeader(r.ctx))
	m.events = r.client.Watch(ctx, r.prefix, clientv3.WithPrefix(), clientv3.WithRev(m.revision+1))
}

// read replaces the view by what etcd holds. That a majority had to be asked for it
// is the proof that etcd answers.
func (m *mirror) read(ctx context.Context) error {
	r := m.registry
	answer, err := r.client.Get(ctx, r.prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if answer.Header.Revision < m.revision { // it has lost its data, or has older ones
		r.log.Error("etcd has gone back in time; all servers register anew", "revision", answer.Header.Revision, "before", m.revision)
		r.view.doubt(now)
		m.unwatch()
		m.events = nil
		for _, g := range r.mine {
			g.stored = 0
		}
	}
	m.revision = answer.Header.Revision
	m.heard(now)
	r.view.answered = now
	present := map[string]bool{}
	for _, row := range answer.Kvs {
		key := strings.TrimPrefix(string(row.Key), r.prefix)
		present[key] = true
		m.put(key, row.Value)
	}
	for _, key := range r.view.others(present) {
		r.view.remove(now, key)
	}
	r.view.settle(now)
	for id, g := range r.mine {
		if !present[serversFolder+id] {
			g.missed(m.revision)
		}
	}
	r.renew()
	return nil
}

// apply takes changes that the last reading did not show yet.
func (m *mirror) apply(answer clientv3.WatchResponse) {
	r := m.registry
	now, newest := time.Now(), m.revision
	r.mu.Lock()
	defer r.mu.Unlock()
	m.heard(now)
	for _, event := range answer.Events {
		if event.Kv.ModRevision <= m.revision {
			continue
		}
		newest = event.Kv.ModRevision // they come in order
		key := strings.TrimPrefix(string(event.Kv.Key), r.prefix)
		if event.Type == clientv3.EventTypePut {
			m.put(key, event.Kv.Value)
			continue
		}
		r.view.remove(now, key)
		id, is := strings.CutPrefix(key, serversFolder)
		if g := r.mine[id]; is && g != nil {
			g.missed(event.Kv.ModRevision)
		}
	}
	m.revision = newest
	r.renew()
}

func (m *mirror) heard(now time.Time) {
	r := m.registry
	silent := now.Sub(r.view.answered)
	if r.view.heard(now) {
		r.log.Info("etcd was away; removals of servers wait", "silent", silent.Round(time.Millisecond), "until", r.view.believe)
	}
}

func (m *mirror) put(key string, value []byte) {
	if !m.registry.view.put(key, value) && !m.unread[key] {
		m.unread[key] = true
		m.registry.log.Error("a row of the registry can not be read and is passed over", "key", key)
	}
}
