package transfer

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
)

// assign returns for each of n partitions the server that should own it: rendezvous
// hashing (Thaler and Ravishankar, 1998) capped at ceil(n/servers) each, so that
// every server computes the same and none has more than its share. Without servers
// all are empty.
func assign(topic string, n int, servers []string) []string {
	owners := make([]string, n)
	if len(servers) == 0 {
		return owners
	}
	type claim struct {
		partition int
		server    string
		weight    uint64
	}
	claims := make([]claim, 0, n*len(servers))
	for p := range n {
		for _, server := range servers {
			claims = append(claims, claim{p, server, weight(topic, p, server)})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.partition, b.partition), cmp.Compare(a.server, b.server))
	})
	share := (n + len(servers) - 1) / len(servers)
	held := map[string]int{}
	for _, c := range claims {
		if owners[c.partition] == "" && held[c.server] < share {
			owners[c.partition] = c.server
			held[c.server]++
		}
	}
	return owners
}

func weight(topic string, partition int, server string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(topic + "." + strconv.Itoa(partition) + "/" + server))
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd // the mix of MurmurHash3: FNV alone is weak in its high bits
	x ^= x >> 33
	return x
}
