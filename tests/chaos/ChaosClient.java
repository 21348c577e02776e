/* Apache's Java client under chaos: what worker.py does with kazoo, with the same arguments and the same history (linear.py).
 *
 * usage: ChaosClient HOSTS NAME CLIENTS SEED OUT [RATE]
 *
 * A line on standard input ends the load; then one line with the sessions that live goes to standard output. They live on until
 * standard input ends. */
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.FileWriter;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

public class ChaosClient {
    static final int TIMEOUT_MS = 10000, KEY_SECONDS = 6, KEYS = 4;
    static volatile boolean stop;
    static BufferedWriter journal;
    static String hosts;
    static double rate = 40;

    interface Call {
        String run() throws Exception; /* more fields of the record */
    }

    static double now() { return System.nanoTime() / 1e9; } /* CLOCK_MONOTONIC, as Python's */

    static synchronized void put(String line) throws Exception { journal.write(line + "\n"); }

    static String stat(Stat s) { return String.format(", \"st\": [%d, %d, %d]", s.getCzxid(), s.getMzxid(), s.getVersion()); }

    static class Client implements Runnable {
        final String name;
        final Random rng;
        final Map<String, Integer> versions = new HashMap<>();
        final CountDownLatch connected = new CountDownLatch(1);
        volatile ZooKeeper zk;
        volatile boolean expired;
        long session;
        int lives, count;
        volatile double heard = now();
        Thread thread;

        Client(String name, long seed) throws Exception {
            this.name = name;
            rng = new Random(seed);
            zk = open();
            if (!connected.await(60, TimeUnit.SECONDS))
                throw new IllegalStateException("not connected");
            thread = new Thread(this, name);
            thread.setDaemon(true);
            thread.start();
        }

        ZooKeeper open() throws Exception {
            return new ZooKeeper(hosts, TIMEOUT_MS, this::onEvent);
        }

        void onEvent(WatchedEvent e) {
            if (e.getState() == KeeperState.SyncConnected)
                connected.countDown();
            else if (e.getState() == KeeperState.Expired)
                expired = true;
        }

        /* Outcome: ok, fail or unknown. The last is whatever does not say for certain. */
        boolean op(String f, String key, String fields, Call call) throws Exception {
            double t0 = now();
            String r = "ok", error = null, more = "";
            try {
                more = call.run();
            } catch (KeeperException.NoNodeException e) {
                r = "fail"; error = "NoNode";
            } catch (KeeperException.NodeExistsException e) {
                r = "fail"; error = "NodeExists";
            } catch (KeeperException.BadVersionException e) {
                r = "fail"; error = "BadVersion";
            } catch (KeeperException.SessionMovedException e) {
                r = "fail"; error = "SessionMoved";
            } catch (KeeperException.NotReadOnlyException e) {
                r = "fail"; error = "NotReadOnly";
            } catch (KeeperException e) {
                r = "unknown"; error = e.code().toString();
            }
            if (!r.equals("unknown"))
                heard = t0;
            put(String.format("{\"c\": \"%s.%d\", \"s\": %d, \"f\": \"%s\", \"k\": \"%s\", \"t0\": %.6f, \"t1\": %s, \"r\": \"%s\"%s%s%s}", name,
                              lives, session, f, key, t0, r.equals("unknown") ? "null" : String.format("%.6f", now()), r,
                              error == null ? "" : ", \"e\": \"" + error + "\"", fields, more));
            return r.equals("ok");
        }

        String create(String path, String data, CreateMode mode) throws Exception {
            return zk.create(path, data.getBytes(), Ids.OPEN_ACL_UNSAFE, mode);
        }

        void beginSession() throws Exception {
            session = zk.getSessionId();
            lives++;
            String path = String.format("/chaos/eph/%s-%x", name, session);
            op("ephemeral", path, "", () -> { create(path, "", CreateMode.EPHEMERAL); return ""; });
        }

        @Override
        public void run() {
            try {
                while (!stop) {
                    double began = now();
                    if (expired) {
                        put(String.format("{\"c\": \"%s\", \"s\": %d, \"f\": \"expired\", \"k\": \"\", \"v\": %.1f, \"t0\": %.6f, \"t1\": %.6f, "
                                          + "\"r\": \"ok\"}", name, session, TIMEOUT_MS / 1000.0, heard, now()));
                        expired = false;
                        zk = open();
                    }
                    if (zk.getSessionId() != 0 && zk.getSessionId() != session)
                        beginSession();
                    one();
                    Thread.sleep((long)Math.max(1, 1000 / rate - (now() - began) * 1000));
                }
            } catch (Exception e) {
                e.printStackTrace();
            }
        }

        void one() throws Exception {
            double dice = rng.nextDouble();
            String mine = name + "-" + ++count, value = String.format(", \"v\": \"%s\"", mine);
            String key = String.format("/chaos/reg/%d-%d", (long)(now() / KEY_SECONDS), rng.nextInt(KEYS));
            if (dice < 0.40) {
                write(key, mine, value);
            } else if (dice < 0.60) {
                look("sync", key);
            } else if (dice < 0.75) {
                look("read", key);
            } else if (dice < 0.90) {
                String path = "/chaos/log/" + name + "/" + count;
                op("add", path, value, () -> { create(path, mine, CreateMode.PERSISTENT); return ""; });
            } else if (dice < 0.95) {
                op("seq", "/chaos/seq/n", "",
                   () -> ", \"got\": \"" + create("/chaos/seq/n", "", CreateMode.PERSISTENT_SEQUENTIAL) + "\"");
            } else {
                String a = "/chaos/pair/" + mine + "a", b = "/chaos/pair/" + mine + "b";
                op("pair", a, ", \"v\": \"" + b + "\"", () -> {
                    zk.multi(List.of(Op.create(a, new byte[0], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                                     Op.create(b, new byte[0], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT)));
                    return "";
                });
            }
        }

        void write(String key, String mine, String value) throws Exception {
            double dice = rng.nextDouble();
            int ver = rng.nextBoolean() ? versions.getOrDefault(key, -1) : -1;
            if (dice < 0.25) {
                op("create", key, value, () -> {
                    Stat s = new Stat();
                    zk.create(key, mine.getBytes(), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, s);
                    versions.put(key, 0);
                    return stat(s);
                });
            } else if (dice < 0.88) {
                op("set", key, value + ", \"ver\": " + ver, () -> {
                    Stat s = zk.setData(key, mine.getBytes(), ver);
                    versions.put(key, s.getVersion());
                    return stat(s);
                });
            } else {
                op("delete", key, ", \"ver\": " + ver, () -> { zk.delete(key, ver); return ""; });
            }
        }

        void look(String f, String key) throws Exception {
            op(f, key, "", () -> {
                if (f.equals("sync")) {
                    CountDownLatch done = new CountDownLatch(1);
                    int[] rc = new int[1];
                    zk.sync(key, (code, path, ctx) -> { rc[0] = code; done.countDown(); }, null);
                    done.await();
                    if (rc[0] != 0)
                        throw KeeperException.create(KeeperException.Code.get(rc[0]), key);
                }
                Stat s = new Stat();
                String got = new String(zk.getData(key, false, s));
                versions.put(key, s.getVersion());
                return ", \"got\": \"" + got + "\"" + stat(s);
            });
        }
    }

    public static void main(String[] args) throws Exception {
        hosts = args[0];
        journal = new BufferedWriter(new FileWriter(args[4]));
        if (args.length > 5)
            rate = Double.parseDouble(args[5]);
        List<Client> clients = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(args[2]); i++)
            clients.add(new Client(args[1] + i, Long.parseLong(args[3]) * 1000 + i));
        System.out.println("running");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        in.readLine();
        stop = true;
        List<String> live = new ArrayList<>(), stuck = new ArrayList<>();
        for (Client c : clients) {
            c.thread.join(40000);
            if (c.thread.isAlive())
                stuck.add("\"" + c.name + "\"");
            if (c.session != 0 && !c.expired)
                live.add(Long.toString(c.session));
        }
        synchronized (ChaosClient.class) {
            journal.close();
        }
        System.out.println("{\"live\": " + live + ", \"stuck\": " + stuck + "}");
        while (in.readLine() != null)
            ;
        Runtime.getRuntime().halt(0);
    }
}
