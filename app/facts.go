package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/memory"
	"github.com/im-transfer/im/common/sqlite"
)

// clusterFormat is the version of what servers of a cluster say to each other and
// store. One that writes another may not join.
const clusterFormat = 1

// agree compares what is configured with what the cluster was created with. Every
// role must: who counts partitions differently would look for users where they are
// not.
func (p *process) agree(ctx context.Context) error {
	c := p.config.Transfer
	facts := im.ClusterFacts{
		ConversationPartitions: c.ConversationPartitions, InboxPartitions: c.InboxPartitions, Prefetch: c.Prefetch,
		Format: clusterFormat,
	}
	if !p.config.Embedded() {
		defer p.waiting("etcd")()
	}
	inForce, err := p.registry.Facts(ctx, facts)
	if err != nil {
		return fmt.Errorf("read the cluster facts: %w", err)
	}
	return compareFacts(facts, inForce)
}

// compareFacts names every setting that differs.
func compareFacts(configured, inForce im.ClusterFacts) error {
	var errs []error
	for _, fact := range []struct {
		setting     string
		here, there int
	}{
		{"transfer.conversation_partitions", configured.ConversationPartitions, inForce.ConversationPartitions},
		{"transfer.inbox_partitions", configured.InboxPartitions, inForce.InboxPartitions},
		{"transfer.prefetch", configured.Prefetch, inForce.Prefetch},
	} {
		if fact.here != fact.there {
			errs = append(errs, fmt.Errorf("%s: is %d here, but %d was fixed when the data or the cluster was created",
				fact.setting, fact.here, fact.there))
		}
	}
	if configured.Format != inForce.Format {
		errs = append(errs, fmt.Errorf("the cluster has format %d, this program %d: it is of another version",
			inForce.Format, configured.Format))
	}
	return errors.Join(errs...)
}

// embeddedRegistry is the registry of a process that is all there is. Its facts are
// the store's, for they outlive the process: what the outbox still holds, and the ids
// given so far, go with the partitions of the one before.
type embeddedRegistry struct {
	*memory.Registry
	store *sqlite.Store
}

// Facts stores the facts with the data if there are none and returns those in force.
func (r embeddedRegistry) Facts(ctx context.Context, facts im.ClusterFacts) (im.ClusterFacts, error) {
	return r.store.Facts(ctx, facts)
}
