import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;

/** Producing and reading. */
final class Records {
    private static final long TIME = 1_700_000_000_000L;
    /** Records of that time are older than the default retention. */
    private static final Map<String, String> KEEP = Map.of("retention.ms", "-1");
    private final Cluster cluster;

    Records(Cluster cluster) {
        this.cluster = cluster;
    }

    void into(Map<String, Main.Scenario> scenarios) {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            scenarios.put("produce-" + codec, () -> filled("produce", 200, "compression.type", codec));
        }
        scenarios.put("acks-0", () -> filled("acks", 200, "acks", "0", "enable.idempotence", false));
        scenarios.put("acks-1", () -> filled("acks", 200, "acks", "1", "enable.idempotence", false));
        scenarios.put("acks-all", () -> filled("acks", 200, "acks", "all", "enable.idempotence", false));
        scenarios.put("idempotent", () -> filled("idempotent", 5_000, "acks", "all", "enable.idempotence", true,
            "max.in.flight.requests.per.connection", 5, "batch.size", 2_000, "linger.ms", 0));
        scenarios.put("round-trip", this::roundTrip);
        scenarios.put("append-time", this::appendTime);
        scenarios.put("big-record", this::bigRecord);
        scenarios.put("read-all", () -> filled("read", 20_000));
        scenarios.put("fetch-from-offset", this::fetchFromOffset);
        scenarios.put("fetch-by-timestamp", this::fetchByTimestamp);
        scenarios.put("fetch-at-end", this::fetchAtEnd);
        scenarios.put("list-offsets", this::listOffsets);
        scenarios.put("auto-create", this::autoCreate);
    }

    private void filled(String scenario, int count, Object... settings) throws Exception {
        String topic = cluster.topic(scenario, 3, Map.of());
        cluster.fill(topic, 3, count, settings);
        Cluster.checkFilled(cluster.readFromStart(topic, 3, count), 3);
    }

    private void roundTrip() throws Exception {
        String topic = cluster.topic("trip", 1, KEEP);
        List<Header> headers = List.of(new RecordHeader("a", new byte[] {0, -1, 7}), new RecordHeader("a", "again".getBytes()),
            new RecordHeader("none", (byte[]) null), new RecordHeader("empty", new byte[0]), new RecordHeader("ключ", "v".getBytes()));
        List<ProducerRecord<byte[], byte[]>> sent = List.of(
            new ProducerRecord<>(topic, 0, TIME, "key".getBytes(), "value".getBytes(), headers),
            new ProducerRecord<>(topic, 0, TIME + 5, null, "no key".getBytes()),
            new ProducerRecord<>(topic, 0, TIME - 5, "no value".getBytes(), null, null),
            new ProducerRecord<>(topic, 0, TIME, new byte[0], new byte[0]));
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer("compression.type", "lz4", "linger.ms", 100)) {
            List<Future<RecordMetadata>> answers = new ArrayList<>();
            for (var record : sent) answers.add(producer.send(record));
            for (int i = 0; i < sent.size(); i++) {
                Check.same((long) i, answers.get(i).get().offset(), "offset told");
                Check.same(sent.get(i).timestamp(), answers.get(i).get().timestamp(), "timestamp told");
            }
        }
        List<ConsumerRecord<byte[], byte[]>> records = cluster.readFromStart(topic, 1, sent.size());
        for (int i = 0; i < sent.size(); i++) {
            Check.same(sent.get(i).key(), records.get(i).key(), "key " + i);
            Check.same(sent.get(i).value(), records.get(i).value(), "value " + i);
            Check.same(sent.get(i).timestamp(), records.get(i).timestamp(), "timestamp " + i);
            Check.same(TimestampType.CREATE_TIME, records.get(i).timestampType(), "timestamp type " + i);
            Check.same(sent.get(i).headers(), records.get(i).headers(), "headers " + i);
        }
    }

    private void appendTime() throws Exception {
        String topic = cluster.topic("time", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long told;
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer()) {
            told = producer.send(new ProducerRecord<>(topic, 0, TIME, null, new byte[1])).get().timestamp();
        }
        Check.that(Math.abs(System.currentTimeMillis() - told) < 60_000, "the time told is not now: " + told);
        ConsumerRecord<byte[], byte[]> record = cluster.readFromStart(topic, 1, 1).get(0);
        Check.same(told, record.timestamp(), "timestamp");
        Check.same(TimestampType.LOG_APPEND_TIME, record.timestampType(), "timestamp type");
    }

    private void bigRecord() throws Exception {
        String topic = cluster.topic("big", 1, Map.of());
        byte[] value = new byte[900_000];
        new Random(7).nextBytes(value);
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer("compression.type", "zstd")) {
            producer.send(new ProducerRecord<>(topic, value)).get();
        }
        Check.that(Arrays.equals(value, cluster.readFromStart(topic, 1, 1).get(0).value()), "the bytes differ");
    }

    private void fetchFromOffset() throws Exception {
        String topic = cluster.topic("seek", 1, Map.of());
        cluster.fill(topic, 1, 100, "compression.type", "gzip", "linger.ms", 200);
        try (Consumer<byte[], byte[]> consumer = cluster.consumer()) {
            consumer.assign(Cluster.partitions(topic, 1));
            consumer.seek(new TopicPartition(topic, 0), 42);
            List<ConsumerRecord<byte[], byte[]>> records = Cluster.read(consumer, 58);
            Check.same(42L, records.get(0).offset(), "first offset");
            Check.same(Cluster.value(42), records.get(0).value(), "first value");
        }
    }

    private void fetchByTimestamp() throws Exception {
        String topic = cluster.topic("times", 1, KEEP);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer("compression.type", "snappy", "linger.ms", 200)) {
            for (int i = 0; i < 100; i++) {
                producer.send(new ProducerRecord<>(topic, 0, TIME + i * 1_000L, null, Cluster.value(i)));
            }
        }
        try (Consumer<byte[], byte[]> consumer = cluster.consumer()) {
            var found = consumer.offsetsForTimes(Map.of(partition, TIME + 49_001)).get(partition);
            Check.same(50L, found.offset(), "offset");
            Check.same(TIME + 50_000, found.timestamp(), "timestamp");
            Check.same(0L, consumer.offsetsForTimes(Map.of(partition, 0L)).get(partition).offset(), "offset of time 0");
            Check.same(null, consumer.offsetsForTimes(Map.of(partition, TIME + 100_000)).get(partition), "after the last");
        }
        var max = cluster.admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get();
        Check.same(99L, max.offset(), "offset of the largest timestamp");
    }

    private void fetchAtEnd() throws Exception {
        String topic = cluster.topic("tail", 1, Map.of());
        cluster.fill(topic, 1, 10);
        try (Consumer<byte[], byte[]> consumer = cluster.consumer()) {
            consumer.assign(Cluster.partitions(topic, 1));
            consumer.seekToEnd(consumer.assignment());
            Check.same(10L, consumer.position(new TopicPartition(topic, 0)), "position");
            Check.same(0, consumer.poll(Duration.ofMillis(300)).count(), "records at the end");
            CompletableFuture<Void> later = CompletableFuture.runAsync(() -> {
                try {
                    Thread.sleep(300);
                    cluster.fill(topic, 1, 1);
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
            Check.same(10L, Cluster.read(consumer, 1).get(0).offset(), "offset");
            later.get();
        }
    }

    private void listOffsets() throws Exception {
        String topic = cluster.topic("offsets", 3, Map.of());
        cluster.fill(topic, 3, 31);
        List<TopicPartition> partitions = Cluster.partitions(topic, 3);
        try (Consumer<byte[], byte[]> consumer = cluster.consumer()) {
            Check.same(List.of(0L, 0L, 0L), inOrder(partitions, consumer.beginningOffsets(partitions)), "earliest");
            Check.same(List.of(11L, 10L, 10L), inOrder(partitions, consumer.endOffsets(partitions)), "latest");
        }
    }

    private static List<Long> inOrder(List<TopicPartition> partitions, Map<TopicPartition, Long> offsets) {
        return partitions.stream().map(offsets::get).toList();
    }

    private void autoCreate() throws Exception {
        String topic = cluster.name("auto");
        cluster.fill(topic, 1, 10);
        Cluster.checkFilled(cluster.readFromStart(topic, 1, 10), 1);
    }
}
