package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func (c *cluster) groupAdmin() {
	topic, group := c.topic("admin", 2), c.name("admin")
	c.fill(topic, 2, 20)
	c.groupUnknown(group, topic)
	c.groupWithMember(group, topic)
	same("Empty", c.describeGroup(group).State, "state without members")
	moved := kadm.Offsets{}
	moved.Add(kadm.Offset{Topic: topic, Partition: 0, At: 3, LeaderEpoch: -1, Metadata: "moved"})
	if err := c.admin.CommitAllOffsets(within(), group, moved); err != nil {
		fail("%v", err)
	}
	same("0:3:moved 1:10:read", c.committed(group), "offsets after moving one")
	reader := c.join(group, topic)
	same(int64(3), must(read(reader.Client, 7))[0].Offset, "first offset read after moving")
	reader.Close()
	if err := c.deleteOffset(group, topic); err != nil {
		fail("%v", err)
	}
	same("1:10:read", c.committed(group), "offsets after deleting one")
	must(c.admin.DeleteGroup(within(), group))
	check(!slices.Contains(must(c.admin.ListGroups(within())).Groups(), group), "listed after deleting")
	c.groupUnknown(group, topic)
}

func (c *cluster) groupUnknown(group, topic string) {
	fails(kerr.GroupIDNotFound, c.describeGroup(group).Err)
	deleted, err := c.admin.DeleteGroup(within(), group)
	fails(kerr.GroupIDNotFound, errors.Join(err, deleted.Err))
	fails(kerr.GroupIDNotFound, c.deleteOffset(group, topic))
	same("", c.committed(group), "offsets of an unknown group")
}

func (c *cluster) groupWithMember(group, topic string) {
	member := c.join(group, topic, kgo.ClientID("the-member"), kgo.Balancers(kgo.RangeBalancer()))
	defer member.Close()
	must(read(member.Client, 20))
	if err := commit(member, topic, 1, 10, "read"); err != nil {
		fail("%v", err)
	}
	listed := must(c.admin.ListGroups(within()))[group]
	same("consumer Stable", listed.ProtocolType+" "+listed.State, "listed")
	described := c.describeGroup(group)
	same("Stable range", described.State+" "+described.Protocol, "described")
	same(1, len(described.Members), "members")
	same("the-member", described.Members[0].ClientID, "client id")
	sameList([]int32{0, 1}, slices.Sorted(maps.Keys(described.AssignedPartitions()[topic])), "assignment")
	deleted, err := c.admin.DeleteGroup(within(), group)
	fails(kerr.NonEmptyGroup, errors.Join(err, deleted.Err))
	fails(kerr.GroupSubscribedToTopic, c.deleteOffset(group, topic))
	moved := kadm.Offsets{}
	moved.AddOffset(topic, 0, 3, -1)
	fails(kerr.UnknownMemberID, c.admin.CommitAllOffsets(within(), group, moved))
}

func (c *cluster) describeGroup(group string) kadm.DescribedGroup {
	described, err := c.admin.DescribeGroups(within(), group)
	found := described[group]
	found.Err = errors.Join(found.Err, err)
	return found
}

// committed is `partition:offset:metadata` of each partition.
func (c *cluster) committed(group string) string {
	offsets := must(c.admin.FetchOffsets(within(), group))
	var all []string
	for _, offset := range offsets.Sorted() {
		all = append(all, fmt.Sprintf("%d:%d:%s", offset.Partition, offset.At, offset.Metadata))
	}
	return strings.Join(all, " ")
}

func (c *cluster) deleteOffset(group, topic string) error {
	partition := kadm.TopicsSet{}
	partition.Add(topic, 0)
	deleted, err := c.admin.DeleteOffsets(within(), group, partition)
	failed, _ := deleted.Lookup(topic, 0)
	return errors.Join(err, failed)
}
