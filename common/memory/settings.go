package memory

import (
	"context"
	"maps"
)

// Settings sends what stands in the configuration centre, by name: at once, and
// after every change, the newest replacing what was not yet taken. The receiver owns
// it. The channel is closed when the context ends.
func (r *Registry) Settings(ctx context.Context) (<-chan map[string]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	feed := make(chan map[string]string, 1)
	feed <- maps.Clone(r.settings)
	r.readers[feed] = struct{}{}
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.readers, feed)
		close(feed)
	})
	return feed, nil
}

// PutSetting changes a setting of the configuration centre.
func (r *Registry) PutSetting(_ context.Context, name, value string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if former, is := r.settings[name]; !is || former != value {
		r.settings[name] = value
		r.tellSettings()
	}
	return nil
}

// DeleteSetting lets a setting be again what the servers' own configuration says;
// one that is not set is no error.
func (r *Registry) DeleteSetting(_ context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, is := r.settings[name]; is {
		delete(r.settings, name)
		r.tellSettings()
	}
	return nil
}

// tellSettings gives everybody the settings; r.mu is held.
func (r *Registry) tellSettings() {
	for feed := range r.readers {
		select {
		case <-feed: // the older ones, which nobody has taken
		default:
		}
		feed <- maps.Clone(r.settings)
	}
}
