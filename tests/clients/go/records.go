package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var start = time.UnixMilli(1_700_000_000_000)

// keep: records of that time are older than the default retention.
var keep = []string{"retention.ms", "-1"}

func recordScenarios(c *cluster) []scenario {
	codec := func(codec kgo.CompressionCodec) func() {
		return func() { c.filled("codec", 200, kgo.ProducerBatchCompression(codec)) }
	}
	acks := func(acks kgo.Acks) func() {
		return func() { c.filled("acks", 200, kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite()) }
	}
	return []scenario{
		{"produce-none", codec(kgo.NoCompression())},
		{"produce-gzip", codec(kgo.GzipCompression())},
		{"produce-snappy", codec(kgo.SnappyCompression())},
		{"produce-lz4", codec(kgo.Lz4Compression())},
		{"produce-zstd", codec(kgo.ZstdCompression())},
		{"acks-0", acks(kgo.NoAck())},
		{"acks-1", acks(kgo.LeaderAck())},
		{"acks-all", acks(kgo.AllISRAcks())},
		{"idempotent", func() {
			c.filled("idempotent", 5_000, kgo.ProducerBatchMaxBytes(4_000), kgo.ProducerLinger(0))
		}},
		{"round-trip", c.roundTrip},
		{"append-time", c.appendTime},
		{"big-record", c.bigRecord},
		{"read-all", func() { c.filled("read", 20_000) }},
		{"fetch-from-offset", c.fetchFromOffset},
		{"fetch-by-timestamp", c.fetchByTimestamp},
		{"fetch-at-end", c.fetchAtEnd},
		{"list-offsets", c.listOffsets},
		{"auto-create", c.autoCreate},
	}
}

func (c *cluster) filled(scenario string, count int, options ...kgo.Opt) {
	topic := c.topic(scenario, 3)
	c.fill(topic, 3, count, options...)
	checkFilled(c.readFrom(topic, 3, fromStart(), count), 3)
}

func (c *cluster) roundTrip() {
	topic := c.topic("trip", 1, keep...)
	headers := []kgo.RecordHeader{{Key: "a", Value: []byte{0, 255, 7}}, {Key: "a", Value: []byte("again")},
		{Key: "none"}, {Key: "empty", Value: []byte{}}, {Key: "ключ", Value: []byte("v")}}
	records := func() []*kgo.Record {
		return []*kgo.Record{
			{Topic: topic, Timestamp: start, Key: []byte("key"), Value: []byte("value"), Headers: headers},
			{Topic: topic, Timestamp: start.Add(5 * time.Millisecond), Value: []byte("no key")},
			{Topic: topic, Timestamp: start.Add(-5 * time.Millisecond), Key: []byte("no value")},
			{Topic: topic, Timestamp: start, Key: []byte{}, Value: []byte{}},
		}
	}
	sent := records()
	err := c.send(sent, kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerLinger(100*time.Millisecond))
	check(err == nil, "%v", err)
	for i, record := range c.readFrom(topic, 1, fromStart(), len(sent)) {
		expected := records()[i]
		same(int64(i), sent[i].Offset, "offset told")
		sameBytes(expected.Key, record.Key, fmt.Sprint("key ", i))
		sameBytes(expected.Value, record.Value, fmt.Sprint("value ", i))
		same(expected.Timestamp.UnixMilli(), record.Timestamp.UnixMilli(), fmt.Sprint("timestamp ", i))
		same(int8(0), record.Attrs.TimestampType(), fmt.Sprint("timestamp type ", i))
		same(len(expected.Headers), len(record.Headers), fmt.Sprint("headers ", i))
		for at, header := range expected.Headers {
			same(header.Key, record.Headers[at].Key, "header key")
			sameBytes(header.Value, record.Headers[at].Value, "header "+header.Key)
		}
	}
}

// sameBytes tells null from empty.
func sameBytes(expected, found []byte, what string) {
	check(bytes.Equal(expected, found) && (expected == nil) == (found == nil), "%s: expected %#v, found %#v", what, expected, found)
}

func (c *cluster) appendTime() {
	topic := c.topic("time", 1, "message.timestamp.type", "LogAppendTime")
	err := c.send([]*kgo.Record{{Topic: topic, Timestamp: start, Value: []byte("x")}})
	check(err == nil, "%v", err)
	record := c.readFrom(topic, 1, fromStart(), 1)[0]
	check(time.Since(record.Timestamp).Abs() < time.Minute, "the timestamp is not now: %v", record.Timestamp)
	same(int8(1), record.Attrs.TimestampType(), "timestamp type")
}

func (c *cluster) bigRecord() {
	topic := c.topic("big", 1)
	big := make([]byte, 900_000)
	rand.New(rand.NewSource(7)).Read(big)
	err := c.send([]*kgo.Record{{Topic: topic, Value: big}}, kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	check(err == nil, "%v", err)
	check(bytes.Equal(big, c.readFrom(topic, 1, fromStart(), 1)[0].Value), "the bytes differ")
}

func (c *cluster) fetchFromOffset() {
	topic := c.topic("seek", 1)
	c.fill(topic, 1, 100, kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerLinger(200*time.Millisecond))
	first := c.readFrom(topic, 1, kgo.NewOffset().At(42), 58)[0]
	same(int64(42), first.Offset, "first offset")
	same(string(value(42)), string(first.Value), "first value")
}

func (c *cluster) fetchByTimestamp() {
	topic := c.topic("times", 1, keep...)
	records := make([]*kgo.Record, 100)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Timestamp: start.Add(time.Duration(i) * time.Second), Value: value(i)}
	}
	err := c.send(records, kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.ProducerLinger(200*time.Millisecond))
	check(err == nil, "%v", err)
	at := start.UnixMilli()
	found, _ := must(c.admin.ListOffsetsAfterMilli(within(), at+49_001, topic)).Lookup(topic, 0)
	same(int64(50), found.Offset, "offset")
	same(at+50_000, found.Timestamp, "timestamp")
	same(int64(0), offset(must(c.admin.ListOffsetsAfterMilli(within(), 0, topic)), topic, 0), "offset of time 0")
	// This client answers the end of the log when nothing is that late.
	same(int64(100), offset(must(c.admin.ListOffsetsAfterMilli(within(), at+100_000, topic)), topic, 0), "after the last")
	same(int64(99), offset(must(c.admin.ListMaxTimestampOffsets(within(), topic)), topic, 0), "offset of the largest timestamp")
	read := c.readFrom(topic, 1, kgo.NewOffset().AfterMilli(at+49_001), 50)
	same(int64(50), read[0].Offset, "first offset read")
}

func offset(listed kadm.ListedOffsets, topic string, partition int32) int64 {
	found, _ := listed.Lookup(topic, partition)
	check(found.Err == nil, "%v", found.Err)
	return found.Offset
}

func (c *cluster) fetchAtEnd() {
	topic := c.topic("tail", 1)
	c.fill(topic, 1, 10)
	client := c.consumer(topic, 1, kgo.NewOffset().AtEnd())
	defer client.Close()
	same(0, len(must(poll(client, time.Second))), "records at the end")
	failures := make(chan error, 1)
	go func() {
		time.Sleep(300 * time.Millisecond)
		failures <- c.send([]*kgo.Record{{Topic: topic, Value: value(0)}})
	}()
	same(int64(10), must(read(client, 1))[0].Offset, "offset")
	err := <-failures
	check(err == nil, "%v", err)
}

func (c *cluster) listOffsets() {
	topic := c.topic("offsets", 3)
	c.fill(topic, 3, 31)
	starts, ends := must(c.admin.ListStartOffsets(within(), topic)), must(c.admin.ListEndOffsets(within(), topic))
	for partition, end := range []int64{11, 10, 10} {
		same(int64(0), offset(starts, topic, int32(partition)), "earliest")
		same(end, offset(ends, topic, int32(partition)), "latest")
	}
}

func (c *cluster) autoCreate() {
	topic := c.name("auto")
	c.fill(topic, 1, 10, kgo.AllowAutoTopicCreation())
	checkFilled(c.readFrom(topic, 1, fromStart(), 10), 1)
}
