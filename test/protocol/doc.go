// Package protocol holds docs/protocol.md to the server, sentence by sentence: a
// whole server in this process, spoken to over its own ports by a client written
// here by hand, so that it can say what no client of ours would. There is nothing
// in it but tests.
//
// Most of them are tables: what is sent, and what must be answered, in the JSON of
// the protocol; a row is run in every form (text, JSON and protobuf over WebSocket,
// JSON and protobuf over TCP) in which it can be said.
package protocol
