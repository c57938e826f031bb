package main

import (
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func errorScenarios(c *cluster) []scenario {
	return []scenario{
		{"error-unknown-topic", c.unknownTopic},
		{"error-too-large", c.tooLarge},
		{"error-invalid-config", c.invalidConfig},
		{"error-offset-out-of-range", c.offsetOutOfRange},
	}
}

func fails(expected *kerr.Error, err error) {
	check(errors.Is(err, expected), "expected %s, found %v", expected.Message, err)
}

func (c *cluster) unknownTopic() {
	topic := c.name("unknown")
	fails(kerr.UnknownTopicOrPartition, must(c.admin.ListTopics(within(), topic))[topic].Err)
	deleted, err := c.admin.DeleteTopic(within(), topic)
	fails(kerr.UnknownTopicOrPartition, errors.Join(err, deleted.Err))
}

func (c *cluster) tooLarge() {
	topic := c.topic("large", 1, "max.message.bytes", "1000")
	err := c.send([]*kgo.Record{{Topic: topic, Value: make([]byte, 5_000)}}, kgo.ProducerBatchCompression(kgo.NoCompression()))
	fails(kerr.MessageTooLarge, err)
	same(int64(0), offset(must(c.admin.ListEndOffsets(within(), topic)), topic, 0), "latest")
}

func (c *cluster) invalidConfig() {
	for name, wrong := range map[string]string{"no.such.setting": "1", "retention.ms": "soon", "cleanup.policy": "burn"} {
		err := c.create(c.name("wrong"), 1, name, wrong)
		fails(kerr.InvalidConfig, err)
		check(strings.Contains(err.Error(), name), "the message does not name %s: %v", name, err)
	}
	negative := "-5"
	fails(kerr.InvalidConfig, c.alter(c.topic("wrong", 1), kadm.AlterConfig{Op: kadm.SetConfig, Name: "segment.bytes", Value: &negative}))
}

func (c *cluster) offsetOutOfRange() {
	topic := c.topic("range", 1)
	c.fill(topic, 1, 10)
	c.failsOutOfRange(topic, kgo.NewOffset().At(1_000))
}

func (c *cluster) failsOutOfRange(topic string, from kgo.Offset) {
	client := c.consumer(topic, 1, from)
	defer client.Close()
	_, err := read(client, 1)
	fails(kerr.OffsetOutOfRange, err)
}
