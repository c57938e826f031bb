import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.OffsetMetadataTooLarge;

/** Members of groups, and the offsets that they commit. */
final class Groups {
    private static final long BALANCE_MS_MAX = 20_000;
    private final Cluster cluster;

    Groups(Cluster cluster) {
        this.cluster = cluster;
    }

    void into(Map<String, Main.Scenario> scenarios) {
        scenarios.put("group-read", this::read);
        scenarios.put("group-commit", this::commit);
        scenarios.put("group-two-members", () -> {
            String topic = cluster.topic("two", 4, Map.of());
            twoMembers(member -> member.subscribe(List.of(topic)), topic);
        });
        scenarios.put("group-static", this::staticMember);
        scenarios.put("group-consumer-protocol", this::consumerProtocol);
    }

    private void read() throws Exception {
        String topic = cluster.topic("group", 3, Map.of());
        String group = cluster.name("read");
        cluster.fill(topic, 3, 300);
        try (var first = cluster.member(group, "enable.auto.commit", true)) {
            first.subscribe(List.of(topic));
            Cluster.checkFilled(Cluster.read(first, 300), 3);
        }
        cluster.fill(topic, 3, 30);
        try (var second = cluster.member(group, "enable.auto.commit", true)) {
            second.subscribe(List.of(topic));
            long lowest = Cluster.read(second, 30).stream().mapToLong(ConsumerRecord::offset).min().orElseThrow();
            Check.same(100L, lowest, "lowest offset read by the second");
        }
    }

    private void commit() throws Exception {
        String topic = cluster.topic("commit", 2, Map.of());
        String group = cluster.name("commit");
        cluster.fill(topic, 2, 20);
        TopicPartition zero = new TopicPartition(topic, 0);
        TopicPartition one = new TopicPartition(topic, 1);
        OffsetAndMetadata commit = new OffsetAndMetadata(4, java.util.Optional.of(0), "as far as four");
        try (var member = cluster.member(group)) {
            member.subscribe(List.of(topic));
            Cluster.read(member, 20);
            member.commitSync(Map.of(zero, commit));
            OffsetAndMetadata large = new OffsetAndMetadata(5, "x".repeat(5_000));
            Check.fails(OffsetMetadataTooLarge.class, () -> member.commitSync(Map.of(zero, large)));
            var committed = member.committed(Set.of(zero, one));
            Check.same(commit, committed.get(zero), "committed");
            Check.same(null, committed.get(one), "committed of the other partition");
            member.seek(zero, 2);
            Check.same(2L, Cluster.read(member, 8).get(0).offset(), "first offset after seeking");
        }
        try (var next = cluster.member(group, "auto.offset.reset", "latest")) {
            next.subscribe(List.of(topic));
            balance(List.of(next), 2);
            Check.same(4L, next.position(zero), "where the next member starts");
            Check.same(10L, next.position(one), "where it starts without a commit");
        }
    }

    interface Subscription {
        void of(Consumer<byte[], byte[]> member);
    }

    /** Two members share 4 partitions, the first of them those of `topic`; then one leaves. */
    private String twoMembers(Subscription subscription, String topic, Object... settings) throws Exception {
        String group = cluster.name("two");
        try (var stays = cluster.member(group, settings); var leaves = cluster.member(group, settings)) {
            subscription.of(stays);
            subscription.of(leaves);
            balance(List.of(stays, leaves), 4);
            Check.same(2, stays.assignment().size(), "partitions of each of the two");
            int partitions = cluster.admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
            cluster.fill(topic, partitions, 40);
            List<ConsumerRecord<byte[], byte[]>> shared = new ArrayList<>();
            for (var member : List.of(stays, leaves)) {
                int mine = (int) member.assignment().stream().filter(p -> p.topic().equals(topic)).count() * 40 / partitions;
                shared.addAll(Cluster.read(member, mine));
                member.commitSync();
            }
            Cluster.checkFilled(shared, partitions);
            leaves.close();
            balance(List.of(stays), 4);
            cluster.fill(topic, partitions, 20);
            Cluster.read(stays, 20);
        }
        return group;
    }

    /** Polls the members until these partitions are assigned, each to one member and evenly. Takes no records. */
    private static void balance(List<Consumer<byte[], byte[]>> members, int partitions) {
        long deadline = System.currentTimeMillis() + BALANCE_MS_MAX;
        while (!balanced(members, partitions)) {
            Check.that(System.currentTimeMillis() < deadline, "not balanced: " + members.stream().map(Consumer::assignment).toList());
            for (var member : members) {
                member.pause(member.assignment());
                Check.that(member.poll(Duration.ofMillis(50)).isEmpty() , "records of paused partitions");
            }
        }
        for (var member : members) member.resume(member.paused());
    }

    private static boolean balanced(List<Consumer<byte[], byte[]>> members, int partitions) {
        Set<TopicPartition> all = new HashSet<>();
        for (var member : members) {
            if (member.assignment().size() != partitions / members.size()) return false;
            all.addAll(member.assignment());
        }
        return all.size() == partitions;
    }

    private void staticMember() throws Exception {
        String topic = cluster.topic("static", 2, Map.of());
        String group = cluster.name("static");
        try (var other = cluster.member(group, "group.instance.id", "other")) {
            other.subscribe(List.of(topic));
            Set<TopicPartition> assigned;
            try (var first = cluster.member(group, "group.instance.id", "comes-back")) {
                first.subscribe(List.of(topic));
                balance(List.of(other, first), 2);
                assigned = first.assignment();
            }
            int generation = other.groupMetadata().generationId();
            try (var again = cluster.member(group, "group.instance.id", "comes-back")) {
                again.subscribe(List.of(topic));
                balance(List.of(other, again), 2);
                Check.same(assigned, again.assignment(), "partitions after coming back");
                Check.same(generation, again.groupMetadata().generationId(), "generation after coming back");
                try (var twin = cluster.member(group, "group.instance.id", "comes-back")) {
                    twin.subscribe(List.of(topic));
                    balance(List.of(twin), 1);
                    Check.fails(FencedInstanceIdException.class, () -> again.commitSync(Map.of(assigned.iterator().next(), new OffsetAndMetadata(0))));
                }
            }
            Check.same(generation, other.groupMetadata().generationId(), "generation of the other");
        }
    }

    private void consumerProtocol() throws Exception {
        String prefix = cluster.name("regex");
        for (String suffix : List.of("-a", "-b")) cluster.create(prefix + suffix, 2, Map.of());
        cluster.create("not-" + prefix + "-a", 2, Map.of());
        SubscriptionPattern pattern = new SubscriptionPattern(prefix + "-[ab]");
        String group = twoMembers(member -> member.subscribe(pattern), prefix + "-b", "group.protocol", "consumer");
        var found = cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        Check.same(GroupType.CONSUMER, found.type(), "type");
        Check.same(GroupState.EMPTY, found.groupState(), "state");
        Check.same("uniform", found.partitionAssignor(), "assignor");
        try (var wrong = cluster.member(group, "group.protocol", "consumer")) {
            wrong.subscribe(new SubscriptionPattern("(unclosed"));
            Check.fails(InvalidRegularExpression.class, () -> {
                long deadline = System.currentTimeMillis() + BALANCE_MS_MAX;
                while (System.currentTimeMillis() < deadline) wrong.poll(Duration.ofMillis(100));
            });
        }
    }
}
