import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Runs the scenarios with Kafka's own Java clients: {@code Main BOOTSTRAP [NAME...]}. */
public final class Main {
    interface Scenario {
        void run() throws Exception;
    }

    public static void main(String[] args) {
        Cluster cluster = new Cluster(args[0]);
        List<String> only = new ArrayList<>(Arrays.asList(args).subList(1, args.length));
        Map<String, Scenario> scenarios = new LinkedHashMap<>();
        new Topics(cluster).into(scenarios);
        new Records(cluster).into(scenarios);
        new Errors(cluster).into(scenarios);
        new Groups(cluster).into(scenarios);
        new GroupAdmin(cluster).into(scenarios);
        boolean failed = false;
        for (Map.Entry<String, Scenario> scenario : scenarios.entrySet()) {
            if (only.isEmpty() || only.contains(scenario.getKey())) {
                failed |= !passes(scenario.getKey(), scenario.getValue());
            }
        }
        System.exit(failed ? 1 : 0);
    }

    private static boolean passes(String name, Scenario scenario) {
        try {
            scenario.run();
            System.out.println("ok " + name);
            return true;
        } catch (Throwable e) {
            String line = e.getStackTrace().length == 0 ? "" : " at " + mine(e);
            System.out.println("FAILED " + name + ": " + String.valueOf(e).replace('\n', ' ') + line);
            return false;
        }
    }

    /** The innermost line of the scenario itself, to find the check that failed. */
    private static String mine(Throwable e) {
        return Arrays.stream(e.getStackTrace())
            .filter(frame -> frame.getFileName() != null && frame.getClassName().indexOf('.') < 0
                && !frame.getClassName().equals("Check"))
            .findFirst().map(StackTraceElement::toString).orElse("?");
    }
}
