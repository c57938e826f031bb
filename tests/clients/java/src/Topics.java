import static org.apache.kafka.clients.admin.AlterConfigOp.OpType.DELETE;
import static org.apache.kafka.clients.admin.AlterConfigOp.OpType.SET;

import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;

/** Topics and their settings, by the admin client. */
final class Topics {
    private final Cluster cluster;
    private final Admin admin;

    Topics(Cluster cluster) {
        this.cluster = cluster;
        this.admin = cluster.admin;
    }

    void into(Map<String, Main.Scenario> scenarios) {
        scenarios.put("create-topic", this::createTopic);
        scenarios.put("describe-topic", this::describeTopic);
        scenarios.put("list-topics", this::listTopics);
        scenarios.put("describe-cluster", this::describeCluster);
        scenarios.put("describe-configs", this::describeConfigs);
        scenarios.put("alter-configs", this::alterConfigs);
        scenarios.put("create-partitions", this::createPartitions);
        scenarios.put("delete-records", this::deleteRecords);
        scenarios.put("delete-topic", this::deleteTopic);
    }

    private void createTopic() throws Exception {
        NewTopic topic = new NewTopic(cluster.name("create"), 3, (short) 1).configs(Map.of("retention.ms", "3600000"));
        var created = admin.createTopics(List.of(topic));
        created.all().get();
        Cluster.settle();
        Check.same(3, created.numPartitions(topic.name()).get(), "partitions told");
        Check.same(1, created.replicationFactor(topic.name()).get(), "replication factor told");
        ConfigEntry retention = created.config(topic.name()).get().get("retention.ms");
        Check.same("3600000", retention.value(), "retention.ms told");
        Check.same(created.topicId(topic.name()).get(), describe(topic.name()).topicId(), "topic id");
        Check.fails(TopicExistsException.class, () -> admin.createTopics(List.of(topic)).all().get());
    }

    private void describeTopic() throws Exception {
        TopicDescription description = describe(cluster.topic("describe", 3, Map.of()));
        Check.same(List.of(0, 1, 2), description.partitions().stream().map(TopicPartitionInfo::partition).toList(), "partitions");
        List<Node> nodes = List.copyOf(admin.describeCluster().nodes().get());
        for (TopicPartitionInfo partition : description.partitions()) {
            Check.that(nodes.contains(partition.leader()), "leader " + partition.leader() + " is not one of " + nodes);
            Check.same(List.of(partition.leader()), partition.replicas(), "replicas");
            Check.same(List.of(partition.leader()), partition.isr(), "in-sync replicas");
        }
        Check.that(!description.isInternal(), "internal");
    }

    private void listTopics() throws Exception {
        String topic = cluster.topic("list", 1, Map.of());
        Check.that(admin.listTopics().names().get().contains(topic), topic + " is not listed");
    }

    private void describeCluster() throws Exception {
        var description = admin.describeCluster();
        Check.that(!description.clusterId().get().isEmpty(), "no cluster id");
        Check.that(description.nodes().get().contains(description.controller().get()), "the controller is not a node");
        Check.that(description.nodes().get().stream().anyMatch(node -> (node.host() + ":" + node.port()).equals(cluster.bootstrap)),
            "no node at " + cluster.bootstrap + ": " + description.nodes().get());
    }

    private void describeConfigs() throws Exception {
        Config config = config(cluster.topic("configs", 1, Map.of("max.message.bytes", "123456")));
        Check.same("123456", config.get("max.message.bytes").value(), "max.message.bytes");
        Check.same(ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("max.message.bytes").source(), "its source");
        Check.same("delete", config.get("cleanup.policy").value(), "cleanup.policy");
        Check.same(ConfigSource.DEFAULT_CONFIG, config.get("cleanup.policy").source(), "its source");
        Check.same(ConfigEntry.ConfigType.LIST, config.get("cleanup.policy").type(), "its type");

        Node node = admin.describeCluster().nodes().get().iterator().next();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, node.idString());
        ConfigEntry threads = admin.describeConfigs(List.of(broker)).all().get().get(broker).get("message.max.bytes");
        Check.same("1048588", threads.value(), "message.max.bytes of the broker");
    }

    private void alterConfigs() throws Exception {
        String topic = cluster.topic("alter", 1, Map.of("retention.ms", "3600000", "max.message.bytes", "200000"));
        admin.incrementalAlterConfigs(Map.of(resource(topic), List.of(
            new AlterConfigOp(new ConfigEntry("segment.bytes", "2097152"), SET),
            new AlterConfigOp(new ConfigEntry("max.message.bytes", null), DELETE)))).all().get();
        Cluster.settle();
        Config config = config(topic);
        Check.same("2097152", config.get("segment.bytes").value(), "the one set");
        Check.same("1048588", config.get("max.message.bytes").value(), "the one deleted");
        Check.same("3600000", config.get("retention.ms").value(), "the one not named");
    }

    private void createPartitions() throws Exception {
        String topic = cluster.topic("grow", 3, Map.of());
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        Cluster.settle();
        Check.same(5, describe(topic).partitions().size(), "partitions");
        cluster.fill(topic, 5, 50);
        Cluster.checkFilled(cluster.readFromStart(topic, 5, 50), 5);
    }

    private void deleteRecords() throws Exception {
        String topic = cluster.topic("trim", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        cluster.fill(topic, 1, 100);
        long low = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(30)))
            .lowWatermarks().get(partition).get().lowWatermark();
        Check.same(30L, low, "low watermark");
        Check.same(30L, admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get().offset(), "earliest");
        var records = cluster.readFromStart(topic, 1, 70);
        Check.same(30L, records.get(0).offset(), "first offset");
        Check.same(Cluster.value(30), records.get(0).value(), "first value");
        try (var consumer = cluster.consumer()) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 10);
            Check.fails(OffsetOutOfRangeException.class, () -> Cluster.read(consumer, 1));
        }
    }

    private void deleteTopic() throws Exception {
        String topic = cluster.topic("delete", 2, Map.of());
        cluster.fill(topic, 2, 10);
        admin.deleteTopics(List.of(topic)).all().get();
        Eventually.holds(() -> !admin.listTopics().names().get().contains(topic), topic + " is still listed");
    }

    private TopicDescription describe(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private Config config(String topic) throws Exception {
        return admin.describeConfigs(List.of(resource(topic))).all().get().get(resource(topic));
    }

    private static ConfigResource resource(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }
}
