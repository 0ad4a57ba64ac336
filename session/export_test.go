package session

import "unsafe"

// SessionBytes is the size of a session itself.
const SessionBytes = unsafe.Sizeof(Session{})
