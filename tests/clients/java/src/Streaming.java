import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;

/**
 * Kafka Streams, exactly once: {@code Streaming BOOTSTRAP APPLICATION STATE_DIR}. It counts the words of {@code left}
 * ({@code wN}, N the number modulo 17) into {@code counts}, and joins {@code left} and {@code right} into
 * {@code joined}. SIGTERM makes it leave.
 */
public final class Streaming {
    private static final int WORDS = 17;
    private static final long CLOSE_S = 20;

    public static void main(String[] args) throws Exception {
        KafkaStreams streams = new KafkaStreams(topology(), settings(args[0], args[1], args[2]));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            boolean closed = streams.close(Duration.ofSeconds(CLOSE_S));
            // The exit code of a JVM that a signal ends is not 0.
            Runtime.getRuntime().halt(closed ? 0 : 1);
        }));
        streams.start();
        new CountDownLatch(1).await();
    }

    private static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> left = builder.stream("left");
        KStream<String, String> right = builder.stream("right");
        left.groupBy((key, value) -> "w" + Integer.parseInt(value) % WORDS)
            .count(Materialized.as("words"))
            .toStream()
            .mapValues(String::valueOf)
            .to("counts");
        JoinWindows near = JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofHours(1));
        left.join(right, (one, other) -> one + "=" + other, near).to("joined");
        return builder.build();
    }

    private static Properties settings(String bootstrap, String application, String stateDir) {
        Properties all = new Properties();
        all.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        all.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        all.put(StreamsConfig.STATE_DIR_CONFIG, stateDir);
        all.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        all.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        all.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0"); // each change is told
        all.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        all.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, "5000");
        all.put(StreamsConfig.RECONNECT_BACKOFF_MAX_MS_CONFIG, "500");
        all.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class.getName());
        all.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class.getName());
        all.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        all.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "6000");
        all.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), "1000");
        return all;
    }
}
