package mongo

import (
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/im-transfer/im"
)

// writeError says in the words of package im what became of an ordered write;
// before tells whether rows of the same call are in already. Whatever is not
// surely one of the others is unknown: sending the same again is always right
// then.
func writeError(err error, before bool) error {
	switch {
	case err == nil:
		return nil
	case mongo.IsDuplicateKeyError(err):
		return fmt.Errorf("%w: %w", im.ErrDuplicate, err)
	case !before && nothingWritten(err):
		return fmt.Errorf("nothing was written: %w", err)
	}
	return fmt.Errorf("%w: %w", im.ErrUnknown, err)
}

// nothingWritten reports whether a write has surely not been done: no server was
// found to send it to (the driver gives this for a first attempt only), the server
// says so, or it refused the first row.
func nothingWritten(err error) bool {
	var selection topology.ServerSelectionError
	var marshal mongo.MarshalError
	if errors.Is(err, mongo.ErrClientDisconnected) || errors.As(err, &selection) || errors.As(err, &marshal) {
		return true
	}
	if labeled := mongo.LabeledError(nil); errors.As(err, &labeled) && labeled.HasErrorLabel("NoWritesPerformed") {
		return true
	}
	var bulk mongo.BulkWriteException
	if errors.As(err, &bulk) {
		return bulk.WriteConcernError == nil && len(bulk.WriteErrors) > 0 && bulk.WriteErrors[0].Index == 0
	}
	var single mongo.WriteException
	return errors.As(err, &single) && single.WriteConcernError == nil && len(single.WriteErrors) > 0
}

// notFound is what a look-up answers that finds nothing.
func notFound(err error, format string, args ...any) error {
	if errors.Is(err, mongo.ErrNoDocuments) {
		return fmt.Errorf("%w: %s", im.ErrNotFound, fmt.Sprintf(format, args...))
	}
	return err
}

// maybe makes a plain error of a later part of a call unknown: plain ones say that
// nothing was written.
func maybe(err error) error {
	if errors.Is(err, im.ErrDuplicate) || errors.Is(err, im.ErrUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", im.ErrUnknown, err)
}
