// Package mongo keeps the store in MongoDB.
//
// Every write is with majority and journaled, every read with majority from the
// primary. There are no transactions: bulks are ordered, and every fence is a
// unique insert; what is updated only rises. So a write that broke off leaves a
// prefix, and may be sent again. The callers retry, with back-off; this package
// tells them which of the three answers of package im it was (errors.go). The
// driver's own retries stay on: a replica set knows a retried write by its number
// and does it once; to a server that is no replica set it sends no write twice.
//
// A row that is only ever asked for by its natural key has that as its _id, which
// saves an index: an event's is its client key. See key.go and collections.go.
//
// The package also runs on servers that speak MongoDB's protocol without being
// one (deploy/local has such a stand-in); their bulks are kept short.
package mongo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/im-transfer/im"
)

// The rows of one bulk: MongoDB takes 100,000; others go on after an error in a
// longer one than this.
const (
	maxBulk        = 100_000
	maxBulkForeign = 100
)

// Options of a Store; the zero value is good.
type Options struct {
	Database string        // the URI's if empty, or else "im"
	Timeout  time.Duration // of one call, server selection included; 10 s if 0
	PoolSize int           // connections at most; 100 if 0

	// client changes the driver's options; tests look at its commands.
	client func(*options.ClientOptions)
}

func (o Options) withDefaults() Options {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.PoolSize == 0 {
		o.PoolSize = 100
	}
	return o
}

// Store is a database of a MongoDB. All methods are safe for concurrent use.
type Store struct {
	collections
	client  *mongo.Client
	info    im.StoreInfo
	real    bool // MongoDB itself
	maxBulk int
	close   func() error
}

// Open connects to a URI, makes the collections' indexes and the store's row if
// they are missing, and checks them. It waits for a server that is away until the
// context ends, and fails when the database was written by a newer version.
func Open(ctx context.Context, uri string, o Options) (*Store, error) {
	o = o.withDefaults()
	if o.Database == "" {
		o.Database = databaseOf(uri)
	}
	journal := true
	settings := options.Client().ApplyURI(uri).
		SetWriteConcern(&writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: &journal}).
		SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary()).
		SetTimeout(o.Timeout).SetConnectTimeout(o.Timeout).SetMaxPoolSize(uint64(o.PoolSize)) //nolint:gosec // a small number
	if o.client != nil {
		o.client(settings)
	}
	client, err := mongo.Connect(settings)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{client: client, collections: collectionsOf(client.Database(o.Database))}
	s.close = sync.OnceValue(func() error { return client.Disconnect(context.Background()) })
	if err := s.await(ctx); err != nil {
		_ = s.Close() // nothing was in use
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

// databaseOf returns the database that a URI names, or "im".
func databaseOf(uri string) string {
	if parsed, err := connstring.Parse(uri); err == nil && parsed.Database != "" {
		return parsed.Database
	}
	return "im" // what is wrong with the URI the driver says
}

// await prepares the store as soon as there is a primary to do it with.
func (s *Store) await(ctx context.Context) error {
	const pause = 200 * time.Millisecond
	for {
		err := s.prepare(ctx)
		if err == nil || ctx.Err() != nil || !mongo.IsTimeout(err) && !mongo.IsNetworkError(err) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.detect(ctx); err != nil {
		return err
	}
	if err := s.makeIndexes(ctx); err != nil {
		return err
	}
	var err error
	s.info, err = s.storeRow(ctx)
	return err
}

// detect finds out what it is talking to. FerretDB and its like name themselves,
// or no storage engine.
func (s *Store) detect(ctx context.Context) error {
	var build struct {
		Engines  []string `bson:"storageEngines"`
		FerretDB bson.Raw `bson:"ferretdb"`
	}
	err := s.client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build)
	if err != nil {
		return fmt.Errorf("ask for the server's version: %w", err)
	}
	s.real = len(build.Engines) > 0 && build.FerretDB == nil
	s.maxBulk = maxBulkForeign
	if s.real {
		s.maxBulk = maxBulk
	}
	return nil
}

// Real reports whether the server is a MongoDB and not a stand-in.
func (s *Store) Real() bool { return s.real }

// Close ends the connections; calls in progress fail. A second Close does nothing.
func (s *Store) Close() error { return s.close() }

// Info returns the store's own row.
func (s *Store) Info(context.Context) (im.StoreInfo, error) { return s.info, nil }

// PendingPacks returns none: a queue that outlives its process needs no outbox.
func (s *Store) PendingPacks(context.Context) ([]im.Pack, error) { return nil, nil }
