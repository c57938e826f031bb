package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const readTimeout = 30 * time.Second

// cluster is the broker under test: one admin client for all scenarios, fresh producers and consumers for each.
type cluster struct {
	bootstrap string
	admin     *kadm.Client
	run       string
	topics    int
}

func connect(bootstrap string) *cluster {
	client := must(kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RetryTimeout(20*time.Second), kgo.MetadataMinAge(10*time.Millisecond)))
	return &cluster{bootstrap: bootstrap, admin: kadm.NewClient(client), run: strconv.FormatInt(time.Now().UnixNano(), 36)}
}

// within bounds one call.
func within() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(readTimeout, cancel)
	return ctx
}

// settle waits after a change for a cluster that answers before all of it knows (SETTLE_MS, see `run`).
func settle() {
	ms, _ := strconv.Atoi(os.Getenv("SETTLE_MS"))
	time.Sleep(time.Duration(ms) * time.Millisecond)
}

// name gives a topic name that no other scenario or run has.
func (c *cluster) name(scenario string) string {
	c.topics++
	return fmt.Sprintf("go-%s-%s-%d", scenario, c.run, c.topics)
}

// topic creates one; configs are name, value, name, value...
func (c *cluster) topic(scenario string, partitions int32, configs ...string) string {
	name := c.name(scenario)
	if err := c.create(name, partitions, configs...); err != nil {
		fail("%v", err)
	}
	return name
}

func (c *cluster) create(name string, partitions int32, configs ...string) error {
	settings := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		settings[configs[i]] = &configs[i+1]
	}
	created, err := c.admin.CreateTopic(within(), partitions, 1, settings, name)
	settle()
	if err != nil && created.ErrMessage != "" {
		return fmt.Errorf("%w: %s", err, created.ErrMessage)
	}
	return err
}

func (c *cluster) producer(options ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.ProducerLinger(5 * time.Millisecond),
	}, options...)...))
}

func (c *cluster) send(records []*kgo.Record, options ...kgo.Opt) error {
	client := c.producer(options...)
	defer client.Close()
	// The client's own delivery timeout counts from a record's timestamp; the context bounds the wait instead.
	return client.ProduceSync(within(), records...).FirstErr()
}

// fill produces numbered records round robin over the partitions.
func (c *cluster) fill(topic string, partitions, count int, options ...kgo.Opt) {
	records := make([]*kgo.Record, count)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: value(i)}
	}
	if err := c.send(records, options...); err != nil {
		fail("%v", err)
	}
}

// consumer reads the partitions of a topic from an offset.
func (c *cluster) consumer(topic string, partitions int, from kgo.Offset) *kgo.Client {
	offsets := map[int32]kgo.Offset{}
	for p := range partitions {
		offsets[int32(p)] = from
	}
	return must(kgo.NewClient(
		kgo.SeedBrokers(c.bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.MetadataMinAge(10*time.Millisecond),
		kgo.FetchMaxWait(500*time.Millisecond),
	))
}

// read waits until `count` records came, and then a little longer for any too many.
func read(client *kgo.Client, count int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	deadline := time.Now().Add(readTimeout)
	for len(records) < count && time.Now().Before(deadline) {
		more, err := poll(client, 500*time.Millisecond)
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	more, err := poll(client, 200*time.Millisecond)
	records = append(records, more...)
	if err == nil && len(records) != count {
		err = fmt.Errorf("records read: expected %d, found %d", count, len(records))
	}
	return records, err
}

func poll(client *kgo.Client, wait time.Duration) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	fetches := client.PollFetches(ctx)
	for _, failure := range fetches.Errors() {
		if !errors.Is(failure.Err, context.DeadlineExceeded) {
			return nil, failure.Err
		}
	}
	return fetches.Records(), nil
}

func (c *cluster) readFrom(topic string, partitions int, from kgo.Offset, count int) []*kgo.Record {
	client := c.consumer(topic, partitions, from)
	defer client.Close()
	return must(read(client, count))
}

func fromStart() kgo.Offset { return kgo.NewOffset().AtStart() }

func value(i int) []byte {
	return fmt.Appendf(nil, "value-%d-%s", i, strings.Repeat("abcdefgh", 12))
}

// checkFilled: the numbered records came back, each once, in order and without a gap in every partition.
func checkFilled(records []*kgo.Record, partitions int) {
	next := make([]int, partitions)
	for _, record := range records {
		position := next[record.Partition]
		next[record.Partition]++
		where := fmt.Sprintf("partition %d record %d", record.Partition, position)
		same(int64(position), record.Offset, where+" offset")
		same(string(value(position*partitions+int(record.Partition))), string(record.Value), where+" value")
	}
}
