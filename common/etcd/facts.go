package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/im-transfer/im"
)

// factsJSON are the cluster facts as stored. Fields are added, never changed.
type factsJSON struct {
	ConversationPartitions int `json:"conversation_partitions"`
	InboxPartitions        int `json:"inbox_partitions"`
	Prefetch               int `json:"prefetch"`
	Format                 int `json:"format"`
}

// Facts stores the cluster facts if there are none and returns those in force, which
// are the same for all who ever ask. While etcd does not answer it waits, as Open does.
func (r *Registry) Facts(ctx context.Context, facts im.ClusterFacts) (im.ClusterFacts, error) {
	text, err := json.Marshal(factsJSON(facts))
	if err != nil {
		return facts, fmt.Errorf("encode the cluster facts: %w", err)
	}
	key := r.prefix + factsKey
	var stored []byte
	err = r.callWithin(ctx, r.options.Wait, "agree on the cluster facts", func(ctx context.Context) error {
		answer, err := r.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, string(text)), clientv3.OpGet(key)).Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			return err
		}
		read := answer.Responses[len(answer.Responses)-1].GetResponseRange()
		if len(read.GetKvs()) != 1 {
			return errors.New("etcd has not kept them")
		}
		stored = read.Kvs[0].Value
		return nil
	})
	if err != nil {
		return im.ClusterFacts{}, err
	}
	var known factsJSON
	if err := json.Unmarshal(stored, &known); err != nil {
		return im.ClusterFacts{}, fmt.Errorf("read the cluster facts (%s): %w", key, err)
	}
	return im.ClusterFacts(known), nil
}

// PutSetting changes a setting of the configuration centre for all servers. Names
// are not empty.
func (r *Registry) PutSetting(ctx context.Context, name, value string) error {
	if strings.Trim(name, "/") == "" {
		return errors.New("put a setting: it has no name")
	}
	return r.call(ctx, "put the setting "+name, func(ctx context.Context) error {
		_, err := r.client.Put(ctx, r.prefix+settingsFolder+name, value)
		return err
	})
}

// DeleteSetting lets a setting be again what the servers' own configuration says;
// one that is not set is no error.
func (r *Registry) DeleteSetting(ctx context.Context, name string) error {
	return r.call(ctx, "delete the setting "+name, func(ctx context.Context) error {
		_, err := r.client.Delete(ctx, r.prefix+settingsFolder+name)
		return err
	})
}
