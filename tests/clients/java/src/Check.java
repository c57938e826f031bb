import java.util.Objects;
import java.util.concurrent.ExecutionException;

/** Checks that say what was wrong. */
final class Check {
    interface Action {
        void run() throws Exception;
    }

    static void that(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void same(Object expected, Object found, String what) {
        if (!Objects.deepEquals(expected, found)) {
            throw new AssertionError(what + ": expected " + expected + ", found " + found);
        }
    }

    /** The action fails with this exception, thrown or as the cause of a failed future. */
    static <E extends Throwable> E fails(Class<E> expected, Action action) throws Exception {
        try {
            action.run();
        } catch (Throwable e) {
            Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
            if (expected.isInstance(cause)) return expected.cast(cause);
            throw new AssertionError("expected " + expected.getSimpleName() + ", found " + cause);
        }
        throw new AssertionError("expected " + expected.getSimpleName() + ", found success");
    }
}
