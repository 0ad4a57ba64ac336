package sqlite

import (
	"strings"
	"sync"
)

// maxCachedKeys bounds each of the two generations of a keyspace's cache.
const maxCachedKeys = 1 << 16

// keyspace maps ids to the integers that stand for them in all other tables. 0
// is the empty id. Keys are given by the writer and never change, so what is
// committed may be cached for ever; memory is bounded by two generations: when
// the young one is full it becomes the old one, and the old one is forgotten.
type keyspace struct {
	find, name, add string // statements

	mu         sync.Mutex // guards young and old
	young, old keyCache
}

type keyCache struct {
	keys map[string]int64
	ids  map[int64]string
}

func newKeyCache() keyCache {
	return keyCache{keys: make(map[string]int64), ids: make(map[int64]string)}
}

func newKeyspace(table string) *keyspace {
	return &keyspace{
		find:  "SELECT key FROM " + table + " WHERE id = ?",
		name:  "SELECT id FROM " + table + " WHERE key = ?",
		add:   "INSERT INTO " + table + " (id) VALUES (?)",
		young: newKeyCache(),
		old:   newKeyCache(),
	}
}

// put remembers a committed key.
func (k *keyspace) put(id string, key int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.young.keys) >= maxCachedKeys {
		k.old, k.young = k.young, newKeyCache()
	}
	k.young.keys[id], k.young.ids[key] = key, id
}

func (k *keyspace) cachedKey(id string) int64 {
	k.mu.Lock()
	key, young := k.young.keys[id]
	if !young {
		key = k.old.keys[id]
	}
	k.mu.Unlock()
	if key != 0 && !young {
		k.put(id, key)
	}
	return key
}

func (k *keyspace) cachedID(key int64) string {
	k.mu.Lock()
	id, young := k.young.ids[key]
	if !young {
		id = k.old.ids[key]
	}
	k.mu.Unlock()
	if id != "" && !young {
		k.put(id, key)
	}
	return id
}

// key returns the key of an id, 0 when it has none.
func (k *keyspace) key(c *conn, id string) (int64, error) {
	if id == "" {
		return 0, nil
	}
	key := k.cachedKey(id)
	if key != 0 {
		return key, nil
	}
	_, err := c.one(k.find, func(r row) { key = r.int(0) }, id)
	if err == nil && key != 0 {
		k.put(strings.Clone(id), key)
	}
	return key, err
}

// id returns the id of a key.
func (k *keyspace) id(c *conn, key int64) (string, error) {
	if key == 0 {
		return "", nil
	}
	id := k.cachedID(key)
	if id != "" {
		return id, nil
	}
	_, err := c.one(k.name, func(r row) { id = r.text(0) }, key)
	if err == nil && id != "" {
		k.put(id, key)
	}
	return id, err
}

// freshKeys gives keys within the writer's transaction and holds them back until
// it is committed.
type freshKeys struct {
	*keyspace
	keys    map[string]int64 // of this transaction
	request []string         // those of them given to the requests in progress
}

// get returns the key of an id and gives it one if it has none.
func (f *freshKeys) get(c *conn, id string) (int64, error) {
	if key := f.keys[id]; key != 0 {
		return key, nil
	}
	key, err := f.key(c, id)
	if err != nil || key != 0 || id == "" {
		return key, err
	}
	key, err = c.insert(f.add, id)
	if err != nil {
		return 0, err
	}
	id = strings.Clone(id)
	f.keys[id] = key
	f.request = append(f.request, id)
	return key, nil
}

// rollback forgets the keys of the requests in progress.
func (f *freshKeys) rollback() {
	for _, id := range f.request {
		delete(f.keys, id)
	}
	f.keep()
}

// keep ends the requests in progress.
func (f *freshKeys) keep() { f.request = f.request[:0] }

// publish lets everybody see the keys of the transaction, now committed.
func (f *freshKeys) publish() {
	for id, key := range f.keys {
		f.put(id, key)
	}
	clear(f.keys)
}
