import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.UnknownMemberIdException;

/** What an administrator sees of groups, changes in them, and is refused. */
final class GroupAdmin {
    private final Cluster cluster;
    private final Admin admin;

    GroupAdmin(Cluster cluster) {
        this.cluster = cluster;
        this.admin = cluster.admin;
    }

    void into(Map<String, Main.Scenario> scenarios) {
        scenarios.put("group-admin", this::groupAdmin);
    }

    private void groupAdmin() throws Exception {
        String topic = cluster.topic("admin", 2, Map.of());
        String group = cluster.name("admin");
        cluster.fill(topic, 2, 20);
        unknown(group, topic);
        withMember(group, topic);
        Check.same(GroupState.EMPTY, describe(group).groupState(), "state without members");
        offsets(group, topic);
        admin.deleteConsumerGroups(List.of(group)).all().get();
        Check.same(List.of(), listed(group), "listed after deleting");
        unknown(group, topic);
    }

    private void unknown(String group, String topic) throws Exception {
        Set<TopicPartition> partition = Set.of(new TopicPartition(topic, 0));
        Check.fails(GroupIdNotFoundException.class, () -> describe(group));
        Check.fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        Check.fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroupOffsets(group, partition).all().get());
        Check.same(Map.of(), committed(group), "offsets of an unknown group");
    }

    private ConsumerGroupDescription describe(String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    private List<GroupListing> listed(String group) throws Exception {
        return admin.listGroups().all().get().stream().filter(found -> found.groupId().equals(group)).toList();
    }

    private Map<TopicPartition, OffsetAndMetadata> committed(String group) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }

    private void withMember(String group, String topic) throws Exception {
        TopicPartition zero = new TopicPartition(topic, 0);
        try (var member = cluster.member(group, "client.id", "the-member")) {
            member.subscribe(List.of(topic));
            Cluster.read(member, 20);
            member.commitSync();
            GroupListing listing = new GroupListing(group, java.util.Optional.of(GroupType.CLASSIC), "consumer",
                java.util.Optional.of(GroupState.STABLE));
            Check.same(List.of(listing), listed(group), "listed");
            ConsumerGroupDescription found = describe(group);
            Check.same(GroupState.STABLE, found.groupState(), "state");
            Check.same("range", found.partitionAssignor(), "assignor");
            Check.same(1, found.members().size(), "members");
            var described = found.members().iterator().next();
            Check.same("the-member", described.clientId(), "client id");
            Check.same(Set.copyOf(Cluster.partitions(topic, 2)), described.assignment().topicPartitions(), "assignment");
            Check.fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
            Check.fails(GroupSubscribedToTopicException.class,
                () -> admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all().get());
            Check.fails(UnknownMemberIdException.class,
                () -> admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(3))).all().get());
        }
    }

    private void offsets(String group, String topic) throws Exception {
        TopicPartition zero = new TopicPartition(topic, 0);
        TopicPartition one = new TopicPartition(topic, 1);
        admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(3, "moved"))).all().get();
        Check.same(Map.of(zero, new OffsetAndMetadata(3, "moved"), one, new OffsetAndMetadata(10, java.util.Optional.of(0), "")),
            committed(group), "offsets after moving one");
        try (var member = cluster.member(group)) {
            member.subscribe(List.of(topic));
            Check.same(3L, Cluster.read(member, 7).get(0).offset(), "first offset read after moving");
        }
        admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all().get();
        Check.same(Set.of(one), committed(group).keySet(), "offsets after deleting one");
    }
}
