import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The broker under test: one admin client for all scenarios, fresh producers and consumers for each. */
final class Cluster {
    private static final long READ_MS_MAX = 30_000;
    private static final String RUN = Long.toString(System.nanoTime(), 36);

    final String bootstrap;
    final Admin admin;
    private int topics;

    Cluster(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(new HashMap<String, Object>(common()));
    }

    private Map<String, Object> common() {
        return Map.of("bootstrap.servers", bootstrap, "request.timeout.ms", 10_000, "default.api.timeout.ms", 20_000);
    }

    /** A name that no other scenario or run has. */
    String name(String scenario) {
        return "java-" + scenario + "-" + RUN + "-" + topics++;
    }

    String topic(String scenario, int partitions, Map<String, String> configs) throws Exception {
        String name = name(scenario);
        create(name, partitions, configs);
        return name;
    }

    void create(String name, int partitions, Map<String, String> configs) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
        settle();
    }

    /** Waits after a change for a cluster that answers before all of it knows (SETTLE_MS, see `run`). */
    static void settle() throws InterruptedException {
        Thread.sleep(Long.parseLong(System.getenv().getOrDefault("SETTLE_MS", "0")));
    }

    /** Settings are name, value, name, value... */
    KafkaProducer<byte[], byte[]> producer(Object... settings) {
        Properties all = new Properties();
        all.put("bootstrap.servers", bootstrap);
        all.put("request.timeout.ms", 10_000);
        all.put("delivery.timeout.ms", 20_000);
        all.put("linger.ms", 5);
        for (int i = 0; i < settings.length; i += 2) all.put(settings[i], settings[i + 1]);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    Consumer<byte[], byte[]> consumer() {
        Properties all = new Properties();
        all.putAll(common());
        all.put("auto.offset.reset", "none");
        all.put("enable.auto.commit", false);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** A member-to-be of a group, with settings as for producers. What it has not committed it reads again. */
    Consumer<byte[], byte[]> member(String group, Object... settings) {
        Properties all = new Properties();
        all.putAll(common());
        all.put("group.id", group);
        all.put("auto.offset.reset", "earliest");
        all.put("enable.auto.commit", false);
        for (int i = 0; i < settings.length; i += 2) all.put(settings[i], settings[i + 1]);
        if (!"consumer".equals(all.get("group.protocol"))) all.put("heartbeat.interval.ms", 100);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static List<TopicPartition> partitions(String topic, int count) {
        return IntStream.range(0, count).mapToObj(p -> new TopicPartition(topic, p)).toList();
    }

    /** Reads from where the consumer stands until `count` records came, and then a little longer for any too many. */
    static List<ConsumerRecord<byte[], byte[]>> read(Consumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.currentTimeMillis() + READ_MS_MAX;
        while (records.size() < count && System.currentTimeMillis() < deadline) {
            consumer.poll(Duration.ofMillis(500)).forEach(records::add);
        }
        consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        Check.same(count, records.size(), "records read");
        return records;
    }

    List<ConsumerRecord<byte[], byte[]>> readFromStart(String topic, int partitions, int count) {
        try (Consumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(partitions(topic, partitions));
            consumer.seekToBeginning(consumer.assignment());
            return read(consumer, count);
        }
    }

    /** Produces `count` numbered records round robin over the partitions. */
    void fill(String topic, int partitions, int count, Object... settings) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            var sent = new ArrayList<java.util.concurrent.Future<?>>();
            for (int i = 0; i < count; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, i % partitions, null, value(i))));
            }
            for (var one : sent) one.get();
        }
    }

    static byte[] value(int i) {
        return ("value-" + i + "-" + "abcdefgh".repeat(12)).getBytes();
    }

    /** The numbered records came back: each once, in order and without a gap in every partition. */
    static void checkFilled(List<ConsumerRecord<byte[], byte[]>> records, int partitions) {
        int[] next = new int[partitions];
        for (ConsumerRecord<byte[], byte[]> record : records) {
            int position = next[record.partition()]++;
            String where = "partition " + record.partition() + " record " + position;
            Check.same((long) position, record.offset(), where + " offset");
            Check.same(value(position * partitions + record.partition()), record.value(), where + " value");
        }
    }
}
