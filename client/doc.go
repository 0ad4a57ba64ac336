// Package client is the Go SDK: an API for the HTTP endpoints and a Client that
// keeps a session alive over WebSocket or TCP.
//
// A Client finds a live server through the gateway API, authenticates, resumes
// where it left off, hands inbox entries to one handler in order and once, and
// acknowledges them after the handler has returned nil. What is sent stays with
// the client until the server has answered: it is sent again, in order and with
// the same ids, over as many connections as it takes.
//
// Who runs what, and who owns which state:
//
//	run      one per Connect; finds servers, dials, authenticates, decides what a
//	         broken connection means; while a session is up, its clock
//	reader   one per session; reads frames and applies them
//	writer   one per session; takes what is to be written from the outbox, the
//	         inbox and the calls, and writes it in batches
//	renewer  one per session; gets a new token before the old one ends
//	handler  one per client; the only one that calls the application's Handler
//	keeper   one per client; saves the local state, then lets acks and sends go
//
// The outbox, the inbox and the current session are under Client.mu. Nothing
// blocks while holding it.
package client
