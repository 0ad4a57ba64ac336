package etcd

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/im-transfer/im"
)

// The folders below the prefix.
const (
	serversFolder  = "servers/"
	settingsFolder = "settings/"
	factsKey       = "facts"
)

// view is what we know of the cluster's keys, and what we do not believe yet: after
// etcd has been away the rows of servers that live may be missing, because their
// leases ran out meanwhile, until these have registered anew.
type view struct {
	ttl      time.Duration
	settings map[string]string
	servers  map[string]serverRow // by id
	answered time.Time            // when etcd answered last
	believe  time.Time            // from then on servers may be removed
}

type serverRow struct {
	im.Server
	missing bool // in etcd, but not yet believed
}

// serverJSON is a row as stored. Fields are added, never changed.
type serverJSON struct {
	ID      string `json:"id"`
	Role    string `json:"role"`
	Address string `json:"address"`
	URL     string `json:"url,omitempty"`
	Load    int64  `json:"load"`

	Stranded bool `json:"stranded,omitempty"`
}

func newView(ttl time.Duration) view {
	return view{ttl: ttl, settings: map[string]string{}, servers: map[string]serverRow{}}
}

// silence is how long etcd may be silent before that is an outage. A lease is
// renewed after a third of its TTL, so that it outlives a silence of less than two.
func (v *view) silence() time.Duration { return v.ttl / 3 }

// heard is called before anything from etcd is believed. It reports whether this
// ends an outage: removals then wait for one TTL.
func (v *view) heard(now time.Time) bool {
	if v.answered.IsZero() || now.Sub(v.answered) <= v.silence() {
		return false
	}
	began := !now.Before(v.believe)
	v.doubt(now)
	return began
}

func (v *view) doubt(now time.Time) { v.believe = now.Add(v.ttl) }

// put takes a row, its key without the prefix. It reports whether it could be read.
func (v *view) put(key string, value []byte) bool {
	if name, is := strings.CutPrefix(key, settingsFolder); is {
		v.settings[name] = string(value)
	}
	id, is := strings.CutPrefix(key, serversFolder)
	if !is {
		return true
	}
	var row serverJSON
	if err := json.Unmarshal(value, &row); err != nil || row.ID != id {
		return false
	}
	v.servers[id] = serverRow{Server: im.Server(row)}
	return true
}

// remove takes the end of a row.
func (v *view) remove(now time.Time, key string) {
	if name, is := strings.CutPrefix(key, settingsFolder); is {
		delete(v.settings, name)
	}
	id, is := strings.CutPrefix(key, serversFolder)
	if !is {
		return
	}
	row, known := v.servers[id]
	switch {
	case !known:
	case now.Before(v.believe):
		row.missing = true
		v.servers[id] = row
	default:
		delete(v.servers, id)
	}
}

// settle believes what has been missing for long enough.
func (v *view) settle(now time.Time) {
	for id, row := range v.servers {
		if row.missing {
			v.remove(now, serversFolder+id)
		}
	}
}

// others returns the keys that are known but not among those given.
func (v *view) others(present map[string]bool) []string {
	var keys []string
	for id := range v.servers {
		if key := serversFolder + id; !present[key] {
			keys = append(keys, key)
		}
	}
	for name := range v.settings {
		if key := settingsFolder + name; !present[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// of returns the servers of a role, sorted by id.
func (v *view) of(role string) []im.Server {
	list := make([]im.Server, 0, len(v.servers))
	for _, row := range v.servers {
		if row.Role == role {
			list = append(list, row.Server)
		}
	}
	slices.SortFunc(list, func(a, b im.Server) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
