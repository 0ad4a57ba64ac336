package mongo

import (
	"context"
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/im-transfer/im"
)

// What the driver reports is one of three answers; where in doubt, unknown.
func TestWriteErrors(t *testing.T) {
	refused := func(index, code int) mongo.BulkWriteError {
		return mongo.BulkWriteError{WriteError: mongo.WriteError{Index: index, Code: code}}
	}
	concern := &mongo.WriteConcernError{Code: 64}
	for name, test := range map[string]struct {
		err    error
		before bool
		want   error // nil = plain
	}{
		"duplicate":               {err: mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{refused(3, 11000)}}, want: im.ErrDuplicate},
		"duplicate, no majority":  {err: mongo.BulkWriteException{WriteConcernError: concern, WriteErrors: []mongo.BulkWriteError{refused(3, 11000)}}, want: im.ErrDuplicate},
		"no majority":             {err: mongo.BulkWriteException{WriteConcernError: concern}, want: im.ErrUnknown},
		"first row too large":     {err: mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{refused(0, 10334)}}},
		"third row too large":     {err: mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{refused(2, 10334)}}, want: im.ErrUnknown},
		"first row of the second": {err: mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{refused(0, 10334)}}, before: true, want: im.ErrUnknown},
		"stepped down":            {err: mongo.CommandError{Code: 189, Labels: []string{"RetryableWriteError"}}, want: im.ErrUnknown},
		"nothing performed":       {err: mongo.CommandError{Code: 10107, Labels: []string{"RetryableWriteError", "NoWritesPerformed"}}},
		"connection cut":          {err: mongo.CommandError{Labels: []string{"NetworkError"}}, want: im.ErrUnknown},
		"too late":                {err: context.DeadlineExceeded, want: im.ErrUnknown},
		"no server in time":       {err: topology.ServerSelectionError{Wrapped: context.DeadlineExceeded}},
		"no server for the rest":  {err: topology.ServerSelectionError{Wrapped: context.DeadlineExceeded}, before: true, want: im.ErrUnknown},
		"closed":                  {err: mongo.ErrClientDisconnected},
	} {
		got := writeError(test.err, test.before)
		for _, answer := range []error{im.ErrDuplicate, im.ErrUnknown} {
			if errors.Is(got, answer) != errors.Is(test.want, answer) {
				t.Errorf("%s: %v, want %v", name, got, test.want)
			}
		}
		if got == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if writeError(nil, true) != nil {
		t.Error("an error of nothing")
	}
}
