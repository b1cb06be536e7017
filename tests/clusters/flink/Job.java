import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** A program of the tests: args are what it does ("divides", "exits" or "sql"), and a number or SQL statements. */
public class Job {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("exits")) {
            System.exit(Integer.parseInt(args[1]));
        }
        if (args[0].equals("sql")) {
            TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.newInstance().build());
            for (int each = 1; each < args.length; each++) {
                tables.executeSql(args[each]);
            }
            return;
        }
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        final int number = Integer.parseInt(args[1]);
        env.fromSequence(1, 5).map(each -> each / number).print();
        env.execute("divides");
    }
}
