import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** A program of the tests: args are what it does ("divides", "exits") and a number. */
public class Job {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("exits")) {
            System.exit(Integer.parseInt(args[1]));
        }
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        final int number = Integer.parseInt(args[1]);
        env.fromSequence(1, 5).map(each -> each / number).print();
        env.execute("divides");
    }
}
