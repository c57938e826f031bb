package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member is a member of a group: `clients-go member BOOTSTRAP GROUP TOPIC classic`. It prints `PARTITION OFFSET VALUE`
// for each record, then commits. SIGTERM makes it leave.
func member(bootstrap, group, topic string) {
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	client := must(kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 200 * time.Millisecond }),
		kgo.MetadataMinAge(500*time.Millisecond),
	))
	defer client.Close()
	out := bufio.NewWriter(os.Stdout)
	for stopping.Err() == nil {
		fetches := client.PollRecords(stopping, 500)
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Fprintln(out, record.Partition, record.Offset, string(record.Value))
		})
		out.Flush()
		commit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		// The broker is away, or the partition is another's now: it is read again.
		if err := client.CommitUncommittedOffsets(commit); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		cancel()
		client.AllowRebalance()
	}
}
