package etcd

// Die ends the registry as the death of its process would: nothing is revoked.
func (r *Registry) Die() {
	r.once.Do(func() {
		r.mu.Lock()
		r.closed = true
		for _, g := range r.mine {
			g.forget()
			g.cancel()
		}
		for f, forget := range r.feeds {
			forget()
			f.close()
		}
		clear(r.feeds)
		r.mu.Unlock()
		r.cancel()
		r.running.Wait()
		r.client.Close()
	})
}
