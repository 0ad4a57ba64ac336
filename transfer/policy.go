package transfer

import "time"

// Policy is what clients may do. It may change while the server runs.
type Policy struct {
	SendsPerSecond float64 // of one user; 0 = no limit
	SendBurst      int     // of one user, at once; 0 = twice SendsPerSecond
	RefuseSignals  bool    // clients' signals are answered forbidden

	RecallWithin time.Duration // in which senders may recall what they have sent; 0 = always
}

// SetPolicy puts a policy in force for what comes from now on.
func (s *Server) SetPolicy(policy Policy) {
	if policy.SendBurst == 0 {
		policy.SendBurst = int(2*policy.SendsPerSecond) + 1
	}
	s.policy.Store(&policy)
}
