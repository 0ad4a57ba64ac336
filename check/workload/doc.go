// Package workload has many devices talk over a running system while they, and the
// system, are being disturbed, records what every one of them saw, and has check
// judge it: was what was acknowledged delivered once and in order to every device?
//
// A device follows a script that is made from the seed alone, so that a run can be
// made again; what the servers' timing makes of it differs. It connects through the
// gateway API, by either transport and in every form, sends to direct and self
// chats, over its connection or HTTP, sends again with the same client_msg_id,
// breaks off between a send and its ack, stays away, reads slowly, keeps acks back,
// moves, forgets what it has, marks as read, and gets new tokens.
//
// Each device is one goroutine that owns all of its state (device.live), one that
// reads its connection, and at most two that wait for an answer by HTTP and hand it
// to the first. At the end all devices come back, drain until nothing comes any more
// and leave; then every inbox is pulled from its beginning by HTTP, a second witness
// to what the devices saw.
package workload
