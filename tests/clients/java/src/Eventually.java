import java.util.concurrent.Callable;

/** For what a cluster may show a moment later than it promised it. */
final class Eventually {
    static void holds(Callable<Boolean> condition, String otherwise) throws Exception {
        long deadline = System.currentTimeMillis() + 10_000;
        while (!condition.call()) {
            Check.that(System.currentTimeMillis() < deadline, otherwise);
            Thread.sleep(50);
        }
    }
}
