// Package imv1 is the generated form of the client protocol's bodies, of what
// travels through the queue, and of the service between gateways and transfers.
// `make proto` makes it anew from the .proto files beside it.
package imv1
