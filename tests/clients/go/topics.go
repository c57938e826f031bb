package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func topicScenarios(c *cluster) []scenario {
	return []scenario{
		{"create-topic", c.createTopic},
		{"describe-topic", c.describeTopic},
		{"list-topics", c.listTopics},
		{"describe-cluster", c.describeCluster},
		{"describe-configs", c.describeConfigs},
		{"alter-configs", c.alterConfigs},
		{"create-partitions", c.createPartitions},
		{"delete-records", c.deleteRecords},
		{"delete-topic", c.deleteTopic},
	}
}

func (c *cluster) createTopic() {
	retention := "3600000"
	name := c.name("create")
	created := must(c.admin.CreateTopic(within(), 3, 1, map[string]*string{"retention.ms": &retention}, name))
	settle()
	same(int32(3), created.NumPartitions, "partitions told")
	same(int16(1), created.ReplicationFactor, "replication factor told")
	same(retention, *created.Configs["retention.ms"].Value, "retention.ms told")
	same(created.ID, c.describe(name).ID, "topic id")
	err := c.create(name, 3)
	check(errors.Is(err, kerr.TopicAlreadyExists), "expected TOPIC_ALREADY_EXISTS, found %v", err)
}

func (c *cluster) describe(topic string) kadm.TopicDetail {
	detail := must(c.admin.ListTopics(within(), topic))[topic]
	if detail.Err != nil {
		fail("%v", detail.Err)
	}
	return detail
}

func (c *cluster) describeTopic() {
	detail := c.describe(c.topic("describe", 3))
	brokers := must(c.admin.ListBrokers(within())).NodeIDs()
	sameList([]int32{0, 1, 2}, detail.Partitions.Numbers(), "partitions")
	for _, partition := range detail.Partitions.Sorted() {
		check(slices.Contains(brokers, partition.Leader), "leader %d is not one of %v", partition.Leader, brokers)
		sameList([]int32{partition.Leader}, partition.Replicas, "replicas")
		sameList([]int32{partition.Leader}, partition.ISR, "in-sync replicas")
	}
}

func (c *cluster) listTopics() {
	topic := c.topic("list", 1)
	time.Sleep(20 * time.Millisecond) // the client may answer from what it asked for less than 10 ms ago
	check(must(c.admin.ListTopics(within())).Has(topic), "%s is not listed", topic)
}

func (c *cluster) describeCluster() {
	metadata := must(c.admin.BrokerMetadata(within()))
	check(metadata.Cluster != "", "no cluster id")
	check(slices.Contains(metadata.Brokers.NodeIDs(), metadata.Controller), "the controller is not a broker")
	listens := func(b kadm.BrokerDetail) bool { return fmt.Sprintf("%s:%d", b.Host, b.Port) == c.bootstrap }
	check(slices.ContainsFunc(metadata.Brokers, listens), "no broker at %s: %v", c.bootstrap, metadata.Brokers)
}

// config gives the settings of a topic by name.
func (c *cluster) config(topic string) map[string]kadm.Config {
	resource := must(must(c.admin.DescribeTopicConfigs(within(), topic)).On(topic, nil))
	if resource.Err != nil {
		fail("%v", resource.Err)
	}
	configs := map[string]kadm.Config{}
	for _, config := range resource.Configs {
		configs[config.Key] = config
	}
	return configs
}

func (c *cluster) describeConfigs() {
	found := c.config(c.topic("configs", 1, "max.message.bytes", "123456"))
	set, standard := found["max.message.bytes"], found["cleanup.policy"]
	same("123456", set.MaybeValue(), "max.message.bytes")
	same(kmsg.ConfigSourceDynamicTopicConfig, set.Source, "its source")
	same("delete", standard.MaybeValue(), "cleanup.policy")
	same(kmsg.ConfigSourceDefaultConfig, standard.Source, "its source")
}

func (c *cluster) alter(topic string, changes ...kadm.AlterConfig) error {
	altered := must(c.admin.AlterTopicConfigs(within(), changes, topic))
	settle()
	return must(altered.On(topic, nil)).Err
}

func (c *cluster) alterConfigs() {
	topic := c.topic("alter", 1, "retention.ms", "3600000", "max.message.bytes", "200000")
	segment := "2097152"
	err := c.alter(topic, kadm.AlterConfig{Op: kadm.SetConfig, Name: "segment.bytes", Value: &segment},
		kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "max.message.bytes"})
	check(err == nil, "%v", err)
	found := c.config(topic)
	for name, expected := range map[string]string{"segment.bytes": segment, "max.message.bytes": "1048588", "retention.ms": "3600000"} {
		config := found[name]
		same(expected, config.MaybeValue(), name)
	}
}

func (c *cluster) createPartitions() {
	topic := c.topic("grow", 3)
	grown := must(must(c.admin.UpdatePartitions(within(), 5, topic)).On(topic, nil))
	check(grown.Err == nil, "%v", grown.Err)
	settle()
	same(5, len(c.describe(topic).Partitions), "partitions")
	c.fill(topic, 5, 50)
	checkFilled(c.readFrom(topic, 5, fromStart(), 50), 5)
}

func (c *cluster) deleteRecords() {
	topic := c.topic("trim", 1)
	c.fill(topic, 1, 100)
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 30, -1)
	deleted, _ := must(c.admin.DeleteRecords(within(), offsets)).Lookup(topic, 0)
	check(deleted.Err == nil, "%v", deleted.Err)
	same(int64(30), deleted.LowWatermark, "low watermark")
	same(int64(30), offset(must(c.admin.ListStartOffsets(within(), topic)), topic, 0), "earliest")
	first := c.readFrom(topic, 1, fromStart(), 70)[0]
	same(int64(30), first.Offset, "first offset")
	same(string(value(30)), string(first.Value), "first value")
	c.failsOutOfRange(topic, kgo.NewOffset().At(10))
}

func (c *cluster) deleteTopic() {
	topic := c.topic("delete", 2)
	c.fill(topic, 2, 10)
	deleted := must(c.admin.DeleteTopic(within(), topic))
	check(deleted.Err == nil, "%v", deleted.Err)
	// A cluster may show it a moment longer.
	for deadline := time.Now().Add(10 * time.Second); must(c.admin.ListTopics(within())).Has(topic); time.Sleep(50 * time.Millisecond) {
		check(time.Now().Before(deadline), "%s is still listed", topic)
	}
}
