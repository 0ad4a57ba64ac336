# Everything that one does with this repository. It needs Go and make; every other
# tool is pinned in tools/go.mod and built when it is first used.

TOOL := go tool -modfile=tools/go.mod

# What proto compares the .proto files with: a branch, or better a release's tag.
BASE ?= main

# Of bench: which benchmarks, in which packages, how often and how long. Fewer than
# six runs say nothing about times. Idle measures memory, and takes long.
BENCH ?= .
PACKAGES ?= ./proto/... ./session ./tcp ./transfer ./common/sqlite ./common/memory
COUNT ?= 6
BENCHTIME ?= 200ms
BASELINE := docs/benchmarks/micro.txt
RESULT := bench/results/micro.txt

# Of cluster: a folder to keep its data in, where it is to be kept, and flags of
# deploy/local/cluster.
DATA ?=
CLUSTER ?=

# Of soak: embedded or cluster, how long, the seed of all that happens, and further
# flags of im check, such as --brokers 3.
SYSTEM ?= cluster
DURATION ?= 65m
SEED ?= 1
SOAK ?=
REPORT = docs/reports/soak-$(SYSTEM)
LOAD_cluster = --faults all --faults-every 2s --fault-lanes 4 --users 60 --rate 270
LOAD_embedded = --faults kill --faults-every 4s --users 40 --devices 3 --rate 400

.PHONY: help run cluster cluster-bench test soak breaks lint fmt proto bench bench-table

help: ## list these
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

# exec: the server takes the shell's place, so that signals reach it.
run: ## run every server in one process, data under ./data
	@go build -o im ./cmd/im && exec ./im

# exec, as above: whoever is killed is the program that all others end with.
cluster: ## run RabbitMQ, etcd, MongoDB, Zipkin and two of each server, until Ctrl-C
	@go build -o im ./cmd/im && go build -o cluster ./deploy/local/cluster && exec ./cluster --data '$(DATA)' $(CLUSTER)

cluster-bench: ## measure the engines alone and the cluster on them, on a machine with nothing else to do
	@go build -o im ./cmd/im && go build -o throughput ./deploy/local/throughput && exec ./throughput $(CLUSTER)

test: ## run all tests with the race detector; says what was skipped
	@bash test/run

# exec, as above: Ctrl-C ends the check, and with it everything that it has started. The
# tag lets clocks be wrong.
soak: ## break a system again and again for an hour and judge it, into docs/reports; SYSTEM=embedded, DURATION=10m, SEED=7
	@go build -tags fault -o im-fault ./cmd/im && exec ./im-fault check --local $(SYSTEM) $(LOAD_$(SYSTEM)) --duration $(DURATION) --seed $(SEED) --patience 3m $(SOAK) \
		--json $(REPORT).json --html $(REPORT).html > $(REPORT).txt

breaks: ## break each guarantee on purpose and see it convicted, in about twenty minutes
	IM_BREAKS=all go test -count=1 -timeout 60m -v -run 'IsConvicted|Acquitted' ./test/breaks

lint: ## check the code
	$(TOOL) golangci-lint run ./...

proto: ## check the .proto files, and that they break no client, and generate their Go code
	$(TOOL) buf lint
	$(TOOL) buf format --diff --exit-code
	@if git cat-file -e $(BASE):proto/im/v1/client.proto 2>/dev/null; then \
		old=$$(mktemp -d); trap 'rm -rf "$$old"' EXIT; \
		git archive $(BASE) buf.yaml proto | tar -x -C "$$old" && \
		$(TOOL) buf breaking --against "$$old"; \
	else \
		echo "buf breaking: skipped, since $(BASE) has no .proto files to compare with"; \
	fi
	$(TOOL) buf generate
	@cd proto/im/v1 && ls *.proto *.pb.go | LC_ALL=C sort | xargs sha256sum > generated.sum

fmt: ## format the code and the .proto files
	$(TOOL) golangci-lint fmt
	$(TOOL) buf format --write

bench: ## compare the micro-benchmarks with the committed figures; UPDATE=1 commits new ones
	@mkdir -p $(dir $(RESULT))
	go test -run '^$$' -bench '$(BENCH)' -skip '^BenchmarkIdle$$' -benchmem -count $(COUNT) -benchtime $(BENCHTIME) $(PACKAGES) \
		> $(RESULT) || { cat $(RESULT); exit 1; }
ifdef UPDATE
	@head=$$(grep '^#' $(BASELINE)); { echo "$$head"; grep -v -e '^PASS' -e '^ok ' -e '^?' $(RESULT); } > $(BASELINE)
else
	$(TOOL) benchstat -table pkg -ignore goos,goarch,cpu $(BASELINE) $(RESULT)
endif

bench-table: ## measure the figures of docs/performance.md on fresh servers, in about ten minutes
	@bash bench/table
