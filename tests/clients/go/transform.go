package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	fenced     = 3
	abortEvery = 7
	// Time for a blow to fall within a transaction.
	open = 40 * time.Millisecond
)

// transform copies a topic to another exactly once: `clients-go transform BOOTSTRAP GROUP IN OUT TRANSACTIONAL_ID classic`.
// Each record goes to the partition with the number of its own. It prints `committed COUNT` or `aborted COUNT` for each
// transaction; some are aborted on purpose. SIGTERM makes it leave after its transaction. It ends with 3 when its session
// is of no more use, as another with its transactional id has come.
func transform(bootstrap, group, in, out, id string) {
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	session := must(kgo.NewGroupTransactSession(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(in),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(10*time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(time.Second),
		kgo.RequestRetries(200),
		kgo.RetryTimeout(time.Minute),
		kgo.RetryBackoffFn(func(int) time.Duration { return 200 * time.Millisecond }),
		kgo.MetadataMinAge(500*time.Millisecond),
	))
	for turn := 1; stopping.Err() == nil; {
		fetches := session.PollRecords(stopping, 200)
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := copyOnce(session, fetches, out, turn%abortEvery != 0); err != nil {
			fmt.Fprintln(os.Stderr, "the end:", err)
			session.Close()
			os.Exit(fenced)
		}
		turn++
	}
	session.Close()
}

// copyOnce is one transaction.
func copyOnce(session *kgo.GroupTransactSession, fetches kgo.Fetches, out string, commits bool) error {
	if err := session.Begin(); err != nil {
		return err
	}
	var failed atomic.Bool
	fetches.EachRecord(func(record *kgo.Record) {
		copied := &kgo.Record{Topic: out, Partition: record.Partition, Key: record.Key, Value: record.Value}
		session.Produce(context.Background(), copied, func(_ *kgo.Record, err error) {
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				failed.Store(true)
			}
		})
	})
	// What is aborted on purpose is to reach the log first.
	if err := session.Client().Flush(context.Background()); err != nil {
		return err
	}
	time.Sleep(open)
	committed, err := session.End(context.Background(), kgo.TransactionEndTry(commits && !failed.Load()))
	if err != nil {
		return err
	}
	what := "aborted"
	if committed {
		what = "committed"
	}
	fmt.Println(what, fetches.NumRecords())
	return nil
}
