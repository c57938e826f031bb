import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A member of a group: {@code Member BOOTSTRAP GROUP TOPIC classic|consumer}. Prints {@code PARTITION OFFSET VALUE} for
 * each record, then commits. SIGTERM makes it leave.
 */
public final class Member {
    public static void main(String[] args) throws Exception {
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings(args[0], args[1], args[3]));
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            // The exit code of a JVM that a signal ends is not 0.
            Runtime.getRuntime().halt(0);
        }));
        try (consumer) {
            consumer.subscribe(List.of(args[2]));
            read(consumer);
        } catch (WakeupException e) {
            // told to stop
        }
    }

    private static void read(KafkaConsumer<String, String> consumer) {
        while (true) {
            ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
            StringBuilder lines = new StringBuilder();
            for (ConsumerRecord<String, String> record : records) {
                lines.append(record.partition()).append(' ').append(record.offset()).append(' ')
                    .append(record.value()).append('\n');
            }
            System.out.print(lines);
            System.out.flush();
            if (records.isEmpty()) continue;
            try {
                consumer.commitSync(Duration.ofSeconds(5));
            } catch (WakeupException e) {
                throw e;
            } catch (KafkaException e) {
                // The broker is away, or the partition is another's now: it is read again.
                System.err.println(e);
            }
        }
    }

    static Properties settings(String bootstrap, String group, String protocol) {
        Properties all = new Properties();
        all.put("bootstrap.servers", bootstrap);
        all.put("group.id", group);
        all.put("group.protocol", protocol);
        all.put("auto.offset.reset", "earliest");
        all.put("enable.auto.commit", "false");
        all.put("reconnect.backoff.max.ms", "500");
        all.put("metadata.max.age.ms", "2000");
        all.put("key.deserializer", StringDeserializer.class.getName());
        all.put("value.deserializer", StringDeserializer.class.getName());
        if (protocol.equals("classic")) {
            all.put("session.timeout.ms", "6000");
            all.put("heartbeat.interval.ms", "1000");
            all.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        }
        return all;
    }
}
