import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Copies a topic to another exactly once: {@code Transform BOOTSTRAP GROUP IN OUT TRANSACTIONAL_ID classic|consumer}.
 * Each record goes to the partition with the number of its own. Prints {@code committed COUNT} or {@code aborted COUNT}
 * for each transaction; some are aborted on purpose. SIGTERM makes it leave after its transaction. Ends with 3 when its
 * producer is of no more use, as another with its transactional id has come.
 */
public final class Transform {
    private static final int FENCED = 3;
    /** Time for a blow to fall within a transaction. */
    private static final int OPEN_MS = 40;
    private static final int ABORT_EVERY = 7;
    private static final Duration WAIT = Duration.ofSeconds(5);

    private static volatile boolean stopping;

    private static final class Fenced extends Exception {
        Fenced(KafkaException cause) {
            super(cause);
        }
    }

    private final KafkaConsumer<String, String> consumer;
    private final KafkaProducer<String, String> producer;
    private final String out;
    private int turns;

    private Transform(String[] args) {
        producer = new KafkaProducer<>(producerSettings(args[0], args[4]));
        consumer = new KafkaConsumer<>(consumerSettings(args[0], args[1], args[5]));
        consumer.subscribe(List.of(args[2]));
        out = args[3];
    }

    public static void main(String[] args) throws Exception {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            try {
                main.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        int code = 0;
        try {
            new Transform(args).run();
        } catch (Fenced e) {
            e.printStackTrace();
            code = FENCED;
        }
        // The exit code of a JVM that a signal ends is not 0, and `exit` would wait for the hook.
        Runtime.getRuntime().halt(code);
    }

    private void run() throws Fenced, InterruptedException {
        try (producer; consumer) {
            persist(producer::initTransactions);
            while (!stopping) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (!records.isEmpty()) turn(records);
            }
        }
    }

    private void turn(ConsumerRecords<String, String> records) throws Fenced, InterruptedException {
        turns++;
        boolean commits = turns % ABORT_EVERY != 0;
        try {
            producer.beginTransaction();
            for (ConsumerRecord<String, String> record : records) {
                producer.send(new ProducerRecord<>(out, record.partition(), record.key(), record.value()));
            }
            producer.flush();
            Thread.sleep(OPEN_MS);
            producer.sendOffsetsToTransaction(next(records), consumer.groupMetadata());
            if (commits) persist(producer::commitTransaction);
        } catch (KafkaException e) {
            System.err.println("turn " + turns + ": " + e);
            commits = false;
        }
        if (commits) {
            say("committed", records);
        } else {
            abort();
            say("aborted", records);
            rewind();
        }
    }

    private static Map<TopicPartition, OffsetAndMetadata> next(ConsumerRecords<String, String> records) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (TopicPartition partition : records.partitions()) {
            List<ConsumerRecord<String, String>> all = records.records(partition);
            offsets.put(partition, new OffsetAndMetadata(all.get(all.size() - 1).offset() + 1));
        }
        return offsets;
    }

    private void abort() throws Fenced {
        try {
            persist(producer::abortTransaction);
        } catch (KafkaException e) {
            throw new Fenced(e);
        }
    }

    /** Calls until the outcome is known: when the broker is away, it is not. */
    private static void persist(Runnable call) {
        while (true) {
            try {
                call.run();
                return;
            } catch (TimeoutException e) {
                System.err.println("again: " + e);
            }
        }
    }

    /** Reads again what was not committed. */
    private void rewind() {
        while (true) {
            try {
                Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment(), WAIT);
                committed.forEach((partition, offset) -> {
                    if (offset == null) consumer.seekToBeginning(List.of(partition));
                    else consumer.seek(partition, offset);
                });
                return;
            } catch (RetriableException e) {
                System.err.println("rewind: " + e);
            }
        }
    }

    private static void say(String what, ConsumerRecords<String, String> records) {
        System.out.println(what + " " + records.count());
        System.out.flush();
    }

    private static Properties producerSettings(String bootstrap, String id) {
        Properties all = new Properties();
        all.put("bootstrap.servers", bootstrap);
        all.put("transactional.id", id);
        all.put("transaction.timeout.ms", "10000");
        all.put("max.block.ms", "20000");
        all.put("reconnect.backoff.max.ms", "500");
        all.put("linger.ms", "0");
        all.put("key.serializer", StringSerializer.class.getName());
        all.put("value.serializer", StringSerializer.class.getName());
        return all;
    }

    private static Properties consumerSettings(String bootstrap, String group, String protocol) {
        Properties all = Member.settings(bootstrap, group, protocol);
        all.put("isolation.level", "read_committed");
        all.put("max.poll.records", "200");
        return all;
    }
}
