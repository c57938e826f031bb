import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** What a broker must refuse, and with which error. */
final class Errors {
    private final Cluster cluster;
    private final Admin admin;

    Errors(Cluster cluster) {
        this.cluster = cluster;
        this.admin = cluster.admin;
    }

    void into(Map<String, Main.Scenario> scenarios) {
        scenarios.put("error-unknown-topic", this::unknownTopic);
        scenarios.put("error-too-large", this::tooLarge);
        scenarios.put("error-invalid-config", this::invalidConfig);
        scenarios.put("error-offset-out-of-range", this::offsetOutOfRange);
    }

    private void unknownTopic() throws Exception {
        List<String> unknown = List.of(cluster.name("unknown"));
        Check.fails(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(unknown).allTopicNames().get());
        Check.fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(unknown).all().get());
    }

    private void tooLarge() throws Exception {
        String topic = cluster.topic("large", 1, Map.of("max.message.bytes", "1000"));
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer()) {
            Check.fails(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, new byte[5_000])).get());
        }
        TopicPartition partition = new TopicPartition(topic, 0);
        Check.same(0L, admin.listOffsets(Map.of(partition, OffsetSpec.latest())).partitionResult(partition).get().offset(), "latest");
    }

    private void invalidConfig() throws Exception {
        for (Map<String, String> wrong : List.of(Map.of("no.such.setting", "1"), Map.of("retention.ms", "soon"), Map.of("cleanup.policy", "burn"))) {
            NewTopic topic = new NewTopic(cluster.name("wrong"), 1, (short) 1).configs(wrong);
            var error = Check.fails(InvalidConfigurationException.class, () -> admin.createTopics(List.of(topic)).all().get());
            String name = wrong.keySet().iterator().next();
            Check.that(error.getMessage().contains(name), "the message does not name " + name + ": " + error.getMessage());
        }
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, cluster.topic("wrong", 1, Map.of()));
        AlterConfigOp wrong = new AlterConfigOp(new ConfigEntry("segment.bytes", "-5"), AlterConfigOp.OpType.SET);
        Check.fails(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(resource, List.of(wrong))).all().get());
    }

    private void offsetOutOfRange() throws Exception {
        String topic = cluster.topic("range", 1, Map.of());
        cluster.fill(topic, 1, 10);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (var consumer = cluster.consumer()) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 1_000);
            var error = Check.fails(OffsetOutOfRangeException.class, () -> Cluster.read(consumer, 1));
            Check.same(Map.of(partition, 1_000L), error.offsetOutOfRangePartitions(), "the position");
        }
    }
}
