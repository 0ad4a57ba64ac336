package local

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// mongoSet is the name of the replica set of one.
const mongoSet = "im"

// isPrimary reports whether the mongod at an address takes writes. One that is in
// no replica set yet gets one of its own.
func isPrimary(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().SetHosts([]string{address}).SetDirect(true))
	if err != nil {
		return false
	}
	defer func() { _ = client.Disconnect(ctx) }() // of what was only asked, nothing is lost
	var hello struct {
		Primary bool   `bson:"isWritablePrimary"`
		Set     string `bson:"setName"`
	}
	admin := client.Database("admin")
	if err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return false
	}
	if hello.Set == "" {
		member := bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: address}}
		config := bson.D{{Key: "_id", Value: mongoSet}, {Key: "members", Value: bson.A{member}}}
		_ = admin.RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: config}}).Err() // the next look tells
	}
	return hello.Primary
}
