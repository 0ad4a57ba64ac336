package http

// Policy is what clients may do. It may change while the server runs.
type Policy struct {
	RefuseRegistration bool // the service key alone makes accounts; others are answered forbidden
	UserRooms          bool // users make rooms too, not the service key alone
}

// SetPolicy puts a policy in force for requests that come from now on.
func (s *Server) SetPolicy(policy Policy) { s.policy.Store(&policy) }
