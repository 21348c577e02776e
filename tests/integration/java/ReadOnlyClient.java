/* A client that takes a read-only server: java ReadOnlyClient HOSTS NODE. The node has to be there. Prints one line per thing that happened, and goes on when
 * a line comes on standard input: first it is read-only, then, once there is a quorum again, a real session. Exits with 1 when something
 * does not behave. */
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;

public class ReadOnlyClient {
    static final LinkedBlockingQueue<KeeperState> states = new LinkedBlockingQueue<>();

    static void await(KeeperState wanted) throws Exception {
        for (;;) {
            KeeperState s = states.poll(40, TimeUnit.SECONDS);
            if (s == null)
                throw new IllegalStateException("never " + wanted);
            System.out.println("state " + s);
            if (s == wanted)
                return;
        }
    }

    public static void main(String[] args) throws Exception {
        ZooKeeper zk = new ZooKeeper(args[0], 6000, (WatchedEvent e) -> states.add(e.getState()), true);
        await(KeeperState.ConnectedReadOnly);
        System.out.println("read " + new String(zk.getData(args[1], false, null)));
        try {
            zk.create("/forbidden", new byte[0], ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            System.out.println("created");
        } catch (KeeperException e) {
            System.out.println("create " + e.code());
        }
        long fake = zk.getSessionId();
        System.out.println("read-only session");
        System.in.read();
        await(KeeperState.SyncConnected);
        String real = zk.create("/real-", new byte[0], ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL);
        System.out.println(zk.getSessionId() != fake && zk.exists(real, false).getEphemeralOwner() == zk.getSessionId()
                           ? "a session of its own" : "the same session");
        zk.close();
        System.out.println("done");
    }
}
