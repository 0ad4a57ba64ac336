package http

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// memoryStore is Accounts, Devices and Histories in maps. fail, if set, is asked
// before every call.
type memoryStore struct {
	mu        sync.Mutex
	fail      func(call string) error
	calls     []string
	users     []im.User
	devices   map[[2]string]im.Device
	refreshes map[string][]im.Refresh
	views     map[string][]im.ConversationView // by user, newest first
	states    map[string]im.ConversationState  // by conversation
	stays     map[im.ReadKey][]im.Member
	events    map[string][]im.Event
	changed   map[im.MessageRef]im.MessageState
	marks     map[string][]im.ReadMark
	heads     map[string]im.InboxHead
	cursors   []im.Cursor
	deleted   []im.EventRef // for everybody
	relations []im.Relation

	connections []im.Connection // newest first
	progress    []im.Progress
	blocks      []im.Block // ascending
}

func newMemoryStore() *memoryStore {
	return &memoryStore{
		devices: map[[2]string]im.Device{}, refreshes: map[string][]im.Refresh{}, views: map[string][]im.ConversationView{},
		states: map[string]im.ConversationState{},
		stays:  map[im.ReadKey][]im.Member{}, events: map[string][]im.Event{}, marks: map[string][]im.ReadMark{},
		heads: map[string]im.InboxHead{}, changed: map[im.MessageRef]im.MessageState{},
	}
}

// enter locks the store for a call; the caller unlocks.
func (m *memoryStore) enter(call string) error {
	m.mu.Lock()
	m.calls = append(m.calls, call)
	if m.fail != nil {
		return m.fail(call)
	}
	return nil
}

func (m *memoryStore) CreateUser(_ context.Context, user im.User) error {
	err := m.enter("CreateUser")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if m.named(user.Username) != nil {
		return im.ErrDuplicate
	}
	m.users = append(m.users, user)
	return nil
}

func (m *memoryStore) named(name string) *im.User {
	if i := slices.IndexFunc(m.users, func(u im.User) bool { return u.Username == name }); i >= 0 {
		return &m.users[i]
	}
	return nil
}

func (m *memoryStore) UserByName(_ context.Context, name string) (im.User, error) {
	err := m.enter("UserByName")
	defer m.mu.Unlock()
	if err != nil {
		return im.User{}, err
	}
	if user := m.named(name); user != nil {
		return *user, nil
	}
	return im.User{}, im.ErrNotFound
}

func (m *memoryStore) UsersByID(_ context.Context, ids []string) (found []im.User, err error) {
	err = m.enter("UsersByID")
	defer m.mu.Unlock()
	for _, user := range m.users {
		if slices.Contains(ids, user.ID) {
			found = append(found, user)
		}
	}
	return found, err
}

func (m *memoryStore) EnsureUsers(_ context.Context, users []im.User) (all []im.User, made []bool, err error) {
	err = m.enter("EnsureUsers")
	defer m.mu.Unlock()
	for _, user := range users {
		stored := m.named(user.Username)
		made = append(made, stored == nil)
		if stored == nil {
			m.users = append(m.users, user)
			stored = &user
		}
		all = append(all, *stored)
	}
	return all, made, err
}

func (m *memoryStore) PutDevice(_ context.Context, device im.Device) error {
	err := m.enter("PutDevice")
	defer m.mu.Unlock()
	if err == nil {
		key := [2]string{device.UserID, device.DeviceID}
		device.Name, device.Push = m.devices[key].Name, m.devices[key].Push
		m.devices[key] = device
	}
	return err
}

func (m *memoryStore) Device(_ context.Context, userID, deviceID string) (im.Device, error) {
	err := m.enter("Device")
	defer m.mu.Unlock()
	device, ok := m.devices[[2]string{userID, deviceID}]
	if err == nil && !ok {
		err = im.ErrNotFound
	}
	return device, err
}

func (m *memoryStore) DevicesOf(_ context.Context, userID string) (devices []im.Device, err error) {
	err = m.enter("DevicesOf")
	defer m.mu.Unlock()
	for _, d := range m.devices {
		if d.UserID == userID {
			devices = append(devices, d)
		}
	}
	return devices, err
}

func (m *memoryStore) ChangeDevice(_ context.Context, userID, deviceID string, change im.DeviceChange) error {
	err := m.enter("ChangeDevice")
	defer m.mu.Unlock()
	key := [2]string{userID, deviceID}
	device, ok := m.devices[key]
	if err != nil || !ok {
		return cmp.Or(err, im.ErrNotFound)
	}
	if change.Name != nil {
		device.Name = *change.Name
	}
	if change.Push != nil {
		device.Push = *change.Push
	}
	m.devices[key] = device
	return nil
}

func (m *memoryStore) Cursors(_ context.Context, userIDs []string) (cursors []im.Cursor, err error) {
	err = m.enter("Cursors")
	defer m.mu.Unlock()
	for _, c := range m.cursors {
		if slices.Contains(userIDs, c.UserID) {
			cursors = append(cursors, c)
		}
	}
	return cursors, err
}

func (m *memoryStore) Connections(_ context.Context, q im.ConnectionQuery) (page []im.Connection, err error) {
	err = m.enter("Connections")
	defer m.mu.Unlock()
	for _, c := range m.connections { // newest first, and at different times
		if c.UserID == q.UserID && (q.DeviceID == "" || c.DeviceID == q.DeviceID) && len(page) < q.Limit &&
			(q.Before.OnlineAtMs == 0 || c.OnlineAtMs < q.Before.OnlineAtMs) {
			page = append(page, c)
		}
	}
	return page, err
}

func (m *memoryStore) StaysAt(_ context.Context, ref im.EventRef) (all []im.Member, err error) {
	err = m.enter("StaysAt")
	defer m.mu.Unlock()
	for key, stays := range m.stays {
		for _, stay := range stays {
			if key.ConversationID == ref.ConversationID && stay.JoinedSeq <= ref.Seq && ref.Seq <= stay.LeftSeq {
				stay.UserID = key.UserID
				all = append(all, stay)
			}
		}
	}
	return all, err
}

func (m *memoryStore) FindDeliveries(_ context.Context, event *im.Event, userIDs []string) (found []im.EntryKey, err error) {
	err = m.enter("FindDeliveries")
	defer m.mu.Unlock()
	for _, block := range m.blocks {
		for i, e := range block.Entries {
			if e.MessageID == event.ID && slices.Contains(userIDs, block.UserID) {
				found = append(found, im.EntryKey{UserID: block.UserID, Seq: block.FirstSeq + int64(i)})
			}
		}
	}
	return found, err
}

func (m *memoryStore) Blocks(_ context.Context, userID string, after int64, limit int) (page im.InboxPage, err error) {
	err = m.enter("Blocks")
	defer m.mu.Unlock()
	for _, block := range m.blocks {
		if block.UserID == userID {
			page.Head = block.LastSeq()
			if block.LastSeq() > after && len(page.Blocks) < limit {
				page.Blocks = append(page.Blocks, block)
			}
		}
	}
	return page, err
}

func (m *memoryStore) FirstProgress(_ context.Context, keys []im.ProgressKey) ([]im.ProgressTimes, error) {
	err := m.enter("FirstProgress")
	defer m.mu.Unlock()
	times := make([]im.ProgressTimes, len(keys))
	for i, key := range keys {
		for _, row := range m.progress {
			if row.UserID != key.UserID || row.DeviceID != key.DeviceID || row.AtMs < key.FromMs {
				continue
			}
			if times[i].WrittenAtMs == 0 && row.Written >= key.Seq {
				times[i].WrittenAtMs = row.AtMs
			}
			if times[i].AckedAtMs == 0 && row.Acked >= key.Seq {
				times[i].AckedAtMs = row.AtMs
			}
		}
	}
	return times, err
}

func (m *memoryStore) SignOut(ctx context.Context, devices ...im.Device) error {
	err := m.enter("SignOut")
	defer m.mu.Unlock()
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return err
	}
	for _, d := range devices {
		key := [2]string{d.UserID, d.DeviceID}
		if device := m.devices[key]; device.Family == d.Family {
			device.Family, device.Push = "", im.Push{}
			m.devices[key] = device
		}
	}
	return nil
}

func (m *memoryStore) InsertRefresh(_ context.Context, refresh im.Refresh) error {
	err := m.enter("InsertRefresh")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	for _, row := range m.refreshes[refresh.Family] {
		if row.Generation == refresh.Generation {
			return im.ErrDuplicate
		}
	}
	m.refreshes[refresh.Family] = append(m.refreshes[refresh.Family], refresh)
	return nil
}

func (m *memoryStore) LastRefresh(_ context.Context, family string) (im.Refresh, error) {
	err := m.enter("LastRefresh")
	defer m.mu.Unlock()
	rows := m.refreshes[family]
	if err != nil || len(rows) == 0 {
		return im.Refresh{}, cmp.Or(err, im.ErrNotFound)
	}
	return slices.MaxFunc(rows, func(a, b im.Refresh) int { return cmp.Compare(a.Generation, b.Generation) }), nil
}

func (m *memoryStore) Refresh(_ context.Context, family string, generation int64) (im.Refresh, error) {
	err := m.enter("Refresh")
	defer m.mu.Unlock()
	for _, row := range m.refreshes[family] {
		if row.Generation == generation {
			return row, err
		}
	}
	return im.Refresh{}, cmp.Or(err, im.ErrNotFound)
}

func (m *memoryStore) ConversationList(_ context.Context, userID string, from im.ListCursor, limit int) ([]im.ConversationView, error) {
	err := m.enter("ConversationList")
	defer m.mu.Unlock()
	views := m.views[userID]
	if from != (im.ListCursor{}) {
		at := slices.IndexFunc(views, func(v im.ConversationView) bool { return v.ID == from.ID && v.LastAtMs == from.LastAtMs })
		views = views[at+1:]
	}
	return views[:min(limit, len(views))], err
}

func (m *memoryStore) ConversationOf(_ context.Context, userID, id string) (im.ConversationView, error) {
	err := m.enter("ConversationOf")
	defer m.mu.Unlock()
	for _, view := range m.views[userID] {
		if view.ID == id {
			return view, err
		}
	}
	return im.ConversationView{}, cmp.Or(err, im.ErrNotFound)
}

func (m *memoryStore) Conversations(_ context.Context, ids []string) (states []im.ConversationState, err error) {
	err = m.enter("Conversations")
	defer m.mu.Unlock()
	for _, id := range ids {
		state := m.states[id]
		state.ID = id
		states = append(states, state)
	}
	return states, err
}

func (m *memoryStore) Stays(_ context.Context, userID, id string) ([]im.Member, error) {
	err := m.enter("Stays")
	defer m.mu.Unlock()
	return m.stays[im.ReadKey{UserID: userID, ConversationID: id}], err
}

func (m *memoryStore) History(_ context.Context, r im.EventRange) (page []im.Event, more bool, err error) {
	err = m.enter("History")
	defer m.mu.Unlock()
	for _, event := range m.events[r.ConversationID] {
		inside := slices.ContainsFunc(r.Stays, func(s im.Member) bool { return event.Seq >= s.JoinedSeq && event.Seq <= s.LeftSeq })
		if inside && (r.Forward && event.Seq > r.After || !r.Forward && (r.Before == 0 || event.Seq < r.Before)) {
			page = append(page, event)
		}
	}
	if len(page) <= r.Limit {
		return page, false, err
	}
	if r.Forward {
		return page[:r.Limit], true, err
	}
	return page[len(page)-r.Limit:], true, err
}

func (m *memoryStore) EventsByID(_ context.Context, refs []im.MessageRef) (found []im.Event, err error) {
	err = m.enter("EventsByID")
	defer m.mu.Unlock()
	for id, events := range m.events {
		for _, e := range events {
			if slices.ContainsFunc(refs, func(r im.MessageRef) bool { return r.ID == e.ID && (r.ConversationID == "" || r.ConversationID == id) }) {
				e.ConversationID = id
				found = append(found, e)
			}
		}
	}
	return found, err
}

func (m *memoryStore) MessageStates(_ context.Context, refs []im.MessageRef) (found []im.MessageState, err error) {
	err = m.enter("MessageStates")
	defer m.mu.Unlock()
	for _, ref := range refs {
		if state, ok := m.changed[ref]; ok {
			found = append(found, state)
		}
	}
	return found, err
}

func (m *memoryStore) ReadMarksOf(_ context.Context, id string) ([]im.ReadMark, error) {
	err := m.enter("ReadMarksOf")
	defer m.mu.Unlock()
	return m.marks[id], err
}

func (m *memoryStore) Heads(_ context.Context, userIDs []string) (heads []im.InboxHead, err error) {
	err = m.enter("Heads")
	defer m.mu.Unlock()
	for _, id := range userIDs {
		heads = append(heads, m.heads[id])
	}
	return heads, err
}

func (m *memoryStore) Info(context.Context) (im.StoreInfo, error) {
	err := m.enter("Info")
	defer m.mu.Unlock()
	return im.StoreInfo{InboxEpoch: "epoch1"}, err
}

// fakePipeline keeps what it is asked and answers what the test says.
type fakePipeline struct {
	mu        sync.Mutex
	published []*imv1.Publish
	acked     []*imv1.Acked
	pulled    []*imv1.PullRequest
	kicked    []*imv1.KickRequest
	reply     *imv1.Reply
	page      *imv1.PullReply
	kickErrs  []error // for the next kicks
	online    int32   // in every room
	inside    string  // who is in it
	err       error
	answer    func(*imv1.Publish) *imv1.Reply // instead of reply, if set
}

func (f *fakePipeline) Publish(_ context.Context, publish *imv1.Publish) (*imv1.Reply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.published = append(f.published, publish)
	if f.answer != nil {
		return f.answer(publish), f.err
	}
	return f.reply, f.err
}

func (f *fakePipeline) Ack(_ context.Context, acked *imv1.Acked) (*imv1.Reply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked = append(f.acked, acked)
	return f.reply, f.err
}

func (f *fakePipeline) Pull(_ context.Context, pull *imv1.PullRequest) (*imv1.PullReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pulled = append(f.pulled, pull)
	return f.page, f.err
}

func (f *fakePipeline) Kick(_ context.Context, kick *imv1.KickRequest) (*imv1.KickReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kicked = append(f.kicked, kick)
	if len(f.kickErrs) > 0 {
		err := f.kickErrs[0]
		f.kickErrs = f.kickErrs[1:]
		return nil, err
	}
	return &imv1.KickReply{Closed: 1}, f.err
}

func (f *fakePipeline) RoomStatus(_ context.Context, asked *imv1.RoomStatusRequest) (*imv1.RoomStatusReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &imv1.RoomStatusReply{Online: f.online, Inside: asked.UserId != "" && asked.UserId == f.inside}, f.err
}

// fakeDiscovery hands out lists that the test sends.
type fakeDiscovery map[string]chan []im.Server

func (f fakeDiscovery) Watch(ctx context.Context, role string) (<-chan []im.Server, error) {
	out := make(chan []im.Server)
	go func() {
		defer close(out)
		for {
			select {
			case list := <-f[role]:
				select {
				case out <- list:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// plainTokens are claims in base64: real ones are common/jwt's affair.
type plainTokens struct{ clock *clock }

func (t plainTokens) Issue(claims im.Claims) (string, error) {
	encoded, err := json.Marshal(claims)
	return base64.RawURLEncoding.EncodeToString(encoded), err
}

func (t plainTokens) Verify(token string) (claims im.Claims, err error) {
	encoded, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(encoded, &claims) != nil || claims.ExpiresAtMs <= t.clock.Now().UnixMilli() {
		return claims, im.Errorf(im.Unauthenticated, "the token is not valid")
	}
	return claims, nil
}

// countedPasswords are hashes that cost nothing, and are counted.
type countedPasswords struct {
	mu       sync.Mutex
	hashes   int
	verifies int
	wait     chan struct{} // if set, each call takes one from it
}

func (p *countedPasswords) Hash(password string) string {
	p.count(&p.hashes)
	return "hash of " + password
}

func (p *countedPasswords) Verify(hash, password string) bool {
	p.count(&p.verifies)
	return hash == "hash of "+password
}

func (p *countedPasswords) count(n *int) {
	p.mu.Lock()
	*n++
	p.mu.Unlock()
	if p.wait != nil {
		<-p.wait
	}
}
