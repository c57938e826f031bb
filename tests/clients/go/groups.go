package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func groupScenarios(c *cluster) []scenario {
	return []scenario{
		{"group-read", c.groupRead},
		{"group-commit", c.groupCommit},
		{"group-two-members", c.groupTwoMembers},
		{"group-static", c.groupStatic},
		{"group-consumer-protocol", c.groupConsumerProtocol},
		{"group-admin", c.groupAdmin},
	}
}

// grouped is a client that is a member of a group, and what it is assigned as the client tells it.
type grouped struct {
	*kgo.Client
	lock        sync.Mutex
	partitions  map[string]bool
	assignments int
}

// join makes a member of a group. What it has not committed is read again.
func (c *cluster) join(group, topic string, options ...kgo.Opt) *grouped {
	member := &grouped{partitions: map[string]bool{}}
	gone := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { member.note(lost, false) }
	member.Client = must(kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.bootstrap),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(100 * time.Millisecond),
		kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { member.note(got, true) }),
		kgo.OnPartitionsRevoked(gone),
		kgo.OnPartitionsLost(gone),
	}, options...)...))
	return member
}

func (g *grouped) note(partitions map[string][]int32, got bool) {
	g.lock.Lock()
	defer g.lock.Unlock()
	for topic, numbers := range partitions {
		for _, number := range numbers {
			delete(g.partitions, partitionName(topic, number))
			if got {
				g.partitions[partitionName(topic, number)] = true
				g.assignments++
			}
		}
	}
}

func partitionName(topic string, number int32) string { return fmt.Sprintf("%s/%d", topic, number) }

func (g *grouped) assigned() []string {
	g.lock.Lock()
	defer g.lock.Unlock()
	return slices.Sorted(maps.Keys(g.partitions))
}

// balance waits until so many partitions are shared evenly by the members.
func balance(count int, members ...*grouped) {
	var all []string
	balanced := func() bool {
		all = nil
		for _, member := range members {
			mine := member.assigned()
			if len(mine) != count/len(members) {
				return false
			}
			all = append(all, mine...)
		}
		slices.Sort(all)
		return len(slices.Compact(all)) == count
	}
	for deadline := time.Now().Add(20 * time.Second); !balanced(); time.Sleep(20 * time.Millisecond) {
		check(time.Now().Before(deadline), "not balanced: %v", all)
	}
}

func (c *cluster) groupRead() {
	topic, group := c.topic("group", 3), c.name("read")
	c.fill(topic, 3, 300)
	committing := func() *kgo.Client { // leaving commits what was polled
		return must(kgo.NewClient(
			kgo.SeedBrokers(c.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(fromStart())))
	}
	first := committing()
	checkFilled(must(read(first, 300)), 3)
	first.Close()
	c.fill(topic, 3, 30)
	second := committing()
	defer second.Close()
	for _, record := range must(read(second, 30)) {
		check(record.Offset >= 100, "the second read offset %d again", record.Offset)
	}
}

func (c *cluster) groupCommit() {
	topic, group := c.topic("commit", 2), c.name("commit")
	c.fill(topic, 2, 20)
	first := c.join(group, topic)
	must(read(first.Client, 20))
	if err := commit(first, topic, 0, 4, "as far as four"); err != nil {
		fail("%v", err)
	}
	fails(kerr.OffsetMetadataTooLarge, commit(first, topic, 0, 5, strings.Repeat("x", 5_000)))
	offsets := must(c.admin.FetchOffsets(within(), group))
	found, _ := offsets.Lookup(topic, 0)
	same(int64(4), found.At, "committed")
	same("as far as four", found.Metadata, "metadata")
	_, committed := offsets.Lookup(topic, 1)
	check(!committed, "the other partition is committed")
	first.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: 2}}})
	same(int64(2), must(read(first.Client, 8))[0].Offset, "first offset after seeking")
	first.Close()
	next := c.join(group, topic, kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	defer next.Close()
	for i, record := range must(read(next.Client, 6)) {
		same(partitionName(topic, 0), partitionName(record.Topic, record.Partition), "partition read by the next")
		same(int64(4+i), record.Offset, "offset read by the next")
	}
}

func commit(member *grouped, topic string, partition int32, offset int64, metadata string) (result error) {
	ctx := kgo.PreCommitFnContext(within(), func(request *kmsg.OffsetCommitRequest) error {
		request.Topics[0].Partitions[0].Metadata = &metadata
		return nil
	})
	offsets := map[string]map[int32]kgo.EpochOffset{topic: {partition: {Epoch: -1, Offset: offset}}}
	member.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		result = err
		if err == nil {
			result = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
		}
	})
	return result
}

func (c *cluster) groupTwoMembers() {
	topic := c.topic("two", 4)
	c.twoMembers(topic, topic, 4)
}

// twoMembers: two members share 4 partitions, some of them those of `topic`; then one leaves.
func (c *cluster) twoMembers(subscription, topic string, partitions int, options ...kgo.Opt) (group string) {
	group = c.name("two")
	stays, leaves := c.join(group, subscription, options...), c.join(group, subscription, options...)
	defer stays.Close()
	defer leaves.Close()
	balance(4, stays, leaves)
	c.fill(topic, partitions, 40)
	var shared []*kgo.Record
	for _, member := range []*grouped{stays, leaves} {
		mine := member.assigned()
		of := slices.DeleteFunc(slices.Clone(mine), func(one string) bool { return !strings.HasPrefix(one, topic+"/") })
		for _, record := range must(read(member.Client, len(of)*40/partitions)) {
			check(slices.Contains(mine, partitionName(record.Topic, record.Partition)), "a record of another's partition")
			shared = append(shared, record)
		}
		if err := member.CommitUncommittedOffsets(within()); err != nil {
			fail("%v", err)
		}
	}
	checkFilled(shared, partitions)
	leaves.Close()
	balance(4, stays)
	c.fill(topic, partitions, 20)
	must(read(stays.Client, 20))
	return group
}

func (c *cluster) groupStatic() {
	topic, group := c.topic("static", 2), c.name("static")
	other := c.join(group, topic, kgo.InstanceID("other"))
	defer other.Close()
	first := c.join(group, topic, kgo.InstanceID("comes-back"))
	balance(2, other, first)
	before, seen := first.assigned(), other.assignments
	_, generation := first.GroupMetadata()
	first.Close()
	again := c.join(group, topic, kgo.InstanceID("comes-back"))
	defer again.Close()
	balance(2, other, again)
	sameList(before, again.assigned(), "partitions after coming back")
	_, found := again.GroupMetadata()
	same(generation, found, "generation after coming back")
	twin := c.join(group, topic, kgo.InstanceID("comes-back"))
	defer twin.Close()
	balance(2, other, twin)
	fails(kerr.FencedInstanceID, commit(again, topic, 0, 0, ""))
	_, found = other.GroupMetadata()
	same(generation, found, "generation of the other")
	same(seen, other.assignments, "assignments of the other")
}

func (c *cluster) groupConsumerProtocol() {
	prefix := c.name("regex")
	for _, name := range []string{prefix + "-a", prefix + "-b", "not-" + prefix + "-a"} {
		if err := c.create(name, 2); err != nil {
			fail("%v", err)
		}
	}
	serverSide := []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()), kgo.ConsumeRegex()}
	group := c.twoMembers("^"+prefix+"-[ab]$", prefix+"-b", 2, serverSide...)
	described := must(c.admin.DescribeConsumerGroups(within(), group))[group]
	same("uniform", described.AssignorName, "assignor")
	listed := must(c.admin.ListGroupsByType(within(), []string{"consumer"}))
	check(slices.Contains(listed.Groups(), group), "it is not of the type consumer")
}
