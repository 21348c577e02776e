/* Curator's recipes and service discovery against one server: java CuratorSession HOST:PORT.
 * Prints one line per recipe; exits with 1 and a stack trace at the first that does not behave. */
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.curator.x.discovery.ServiceCache;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceProvider;
import org.apache.zookeeper.CreateMode;

public class CuratorSession {
    static String server;
    static final List<CuratorFramework> clients = Collections.synchronizedList(new ArrayList<>());

    interface Check {
        void run() throws Exception;
    }

    static CuratorFramework client() throws Exception {
        CuratorFramework c = CuratorFrameworkFactory.newClient(server, 15000, 10000, new ExponentialBackoffRetry(100, 5));
        c.start();
        require(c.blockUntilConnected(20, TimeUnit.SECONDS), "connected");
        clients.add(c);
        return c;
    }

    static void require(boolean ok, String what) {
        if (!ok)
            throw new IllegalStateException("not so: " + what);
    }

    static void eventually(String what, java.util.concurrent.Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (!condition.call()) {
            require(System.nanoTime() < end, what);
            Thread.sleep(10); // polls a condition, with the deadline above
        }
    }

    static void check(String name, Check c) throws Exception {
        c.run();
        System.out.println("ok " + name);
    }

    public static void main(String[] args) {
        server = args[0];
        try {
            run();
            for (CuratorFramework c : clients)
                c.close();
            System.out.println("all ok");
            System.exit(0);
        } catch (Throwable t) {
            t.printStackTrace();
            System.exit(1);
        }
    }

    static void run() throws Exception {
        CuratorFramework a = client(), b = client();

        check("mutex", () -> {
            int threads = 4, rounds = 10;
            int[] counter = {0};
            ExecutorService pool = Executors.newFixedThreadPool(threads);
            List<Future<?>> done = new ArrayList<>();
            AtomicInteger inside = new AtomicInteger();
            for (int i = 0; i < threads; i++) {
                CuratorFramework c = i % 2 == 0 ? a : b;
                done.add(pool.submit(() -> {
                    InterProcessMutex m = new InterProcessMutex(c, "/c/mutex");
                    for (int k = 0; k < rounds; k++) {
                        require(m.acquire(20, TimeUnit.SECONDS), "lock acquired");
                        require(inside.incrementAndGet() == 1, "one holder at a time");
                        counter[0]++;
                        inside.decrementAndGet();
                        m.release();
                    }
                    return null;
                }));
            }
            for (Future<?> f : done)
                f.get();
            pool.shutdown();
            require(counter[0] == threads * rounds, "every round counted");
        });

        check("read-write lock", () -> {
            InterProcessReadWriteLock one = new InterProcessReadWriteLock(a, "/c/rw"), two = new InterProcessReadWriteLock(b, "/c/rw");
            one.readLock().acquire();
            require(two.readLock().acquire(5, TimeUnit.SECONDS), "two readers");
            require(!two.writeLock().acquire(200, TimeUnit.MILLISECONDS), "no writer beside a reader");
            one.readLock().release();
            two.readLock().release();
            require(two.writeLock().acquire(5, TimeUnit.SECONDS), "a writer alone");
            two.writeLock().release();
        });

        check("semaphore", () -> {
            InterProcessSemaphoreV2 s = new InterProcessSemaphoreV2(a, "/c/sem", 2);
            Lease l1 = s.acquire(), l2 = s.acquire();
            require(s.acquire(200, TimeUnit.MILLISECONDS) == null, "a third lease");
            s.returnLease(l1);
            Lease l3 = s.acquire(5, TimeUnit.SECONDS);
            require(l3 != null, "a returned lease");
            s.returnLease(l2);
            s.returnLease(l3);
        });

        check("leader latch", () -> {
            LeaderLatch one = new LeaderLatch(a, "/c/latch", "one"), two = new LeaderLatch(b, "/c/latch", "two");
            one.start();
            require(one.await(10, TimeUnit.SECONDS), "first leads");
            two.start();
            require(!two.hasLeadership(), "second waits");
            one.close();
            require(two.await(10, TimeUnit.SECONDS), "second leads");
            two.close();
        });

        check("leader selector", () -> {
            CountDownLatch led = new CountDownLatch(2);
            List<LeaderSelector> selectors = new ArrayList<>();
            for (CuratorFramework c : new CuratorFramework[] {a, b}) {
                LeaderSelector s = new LeaderSelector(c, "/c/selector", new LeaderSelectorListenerAdapter() {
                    @Override
                    public void takeLeadership(CuratorFramework f) {
                        led.countDown();
                    }
                });
                selectors.add(s);
                s.start();
            }
            require(led.await(15, TimeUnit.SECONDS), "each led once");
            for (LeaderSelector s : selectors)
                s.close();
        });

        check("double barrier", () -> {
            ExecutorService pool = Executors.newFixedThreadPool(2);
            CyclicBarrier start = new CyclicBarrier(2);
            List<Future<?>> done = new ArrayList<>();
            for (CuratorFramework c : new CuratorFramework[] {a, b})
                done.add(pool.submit(() -> {
                    DistributedDoubleBarrier d = new DistributedDoubleBarrier(c, "/c/barrier", 2);
                    start.await();
                    require(d.enter(15, TimeUnit.SECONDS), "both enter");
                    require(d.leave(15, TimeUnit.SECONDS), "both leave");
                    return null;
                }));
            for (Future<?> f : done)
                f.get();
            pool.shutdown();
        });

        check("counters", () -> {
            DistributedAtomicLong n = new DistributedAtomicLong(a, "/c/long", new ExponentialBackoffRetry(10, 20));
            for (int i = 0; i < 20; i++) {
                AtomicValue<Long> v = n.increment();
                require(v.succeeded() && v.postValue() == i + 1, "increment " + i);
            }
            SharedCount s = new SharedCount(a, "/c/shared", 7), other = new SharedCount(b, "/c/shared", 0);
            s.start();
            other.start();
            s.setCount(42);
            eventually("shared count seen", () -> other.getCount() == 42);
            s.close();
            other.close();
        });

        check("queue", () -> {
            SimpleDistributedQueue q = new SimpleDistributedQueue(a, "/c/queue"), other = new SimpleDistributedQueue(b, "/c/queue");
            for (int i = 0; i < 10; i++)
                q.offer(("item-" + i).getBytes(StandardCharsets.UTF_8));
            for (int i = 0; i < 10; i++)
                require(new String(other.poll(10, TimeUnit.SECONDS), StandardCharsets.UTF_8).equals("item-" + i), "item " + i);
        });

        check("curator cache", () -> {
            LinkedBlockingQueue<String> seen = new LinkedBlockingQueue<>();
            a.create().creatingParentsIfNeeded().forPath("/c/cache/old", "1".getBytes());
            CuratorCache cache = CuratorCache.build(a, "/c/cache");
            CountDownLatch initialised = new CountDownLatch(1);
            cache.listenable().addListener(CuratorCacheListener.builder()
                .forCreates(n -> seen.add("+" + n.getPath()))
                .forChanges((o, n) -> seen.add("=" + n.getPath() + new String(n.getData())))
                .forDeletes(n -> seen.add("-" + n.getPath()))
                .forInitialized(initialised::countDown).build());
            cache.start();
            require(initialised.await(10, TimeUnit.SECONDS), "initialised");
            b.create().creatingParentsIfNeeded().forPath("/c/cache/deep/new", "2".getBytes());
            b.setData().forPath("/c/cache/old", "3".getBytes());
            List<String> all = new ArrayList<>();
            eventually("creations and the change seen", () -> {
                seen.drainTo(all);
                return all.contains("+/c/cache/old") && all.contains("+/c/cache/deep/new") && all.contains("=/c/cache/old3");
            });
            // Only now: the cache reads a node after its event, and would not report one that is gone by then.
            b.delete().forPath("/c/cache/deep/new");
            eventually("the deletion seen", () -> {
                seen.drainTo(all);
                return all.contains("-/c/cache/deep/new");
            });
            cache.close();
        });

        check("persistent node and group membership", () -> {
            PersistentNode p = new PersistentNode(a, CreateMode.EPHEMERAL, false, "/c/persistent", "x".getBytes());
            p.start();
            require(p.waitForInitialCreate(10, TimeUnit.SECONDS), "created");
            b.delete().forPath("/c/persistent");
            eventually("made again", () -> b.checkExists().forPath("/c/persistent") != null);
            p.close();
            GroupMember one = new GroupMember(a, "/c/group", "one"), two = new GroupMember(b, "/c/group", "two");
            one.start();
            two.start();
            eventually("both are members", () -> one.getCurrentMembers().size() == 2 && two.getCurrentMembers().size() == 2);
            one.close();
            eventually("one left", () -> two.getCurrentMembers().size() == 1);
            two.close();
        });

        check("transaction, container, ephemeral, version", () -> {
            a.transaction().forOperations(a.transactionOp().create().forPath("/c/t1", "a".getBytes()),
                a.transactionOp().setData().forPath("/c/t1", "b".getBytes()), a.transactionOp().check().withVersion(1).forPath("/c/t1"));
            require(new String(b.getData().forPath("/c/t1")).equals("b"), "transaction applied");
            try {
                a.transaction().forOperations(a.transactionOp().create().forPath("/c/t2"), a.transactionOp().delete().forPath("/c/none"));
                require(false, "a bad transaction fails");
            } catch (org.apache.zookeeper.KeeperException.NoNodeException expected) {
                require(b.checkExists().forPath("/c/t2") == null, "rolled back");
            }
            a.create().withMode(CreateMode.CONTAINER).forPath("/c/container");
            CuratorFramework shortLived = client();
            shortLived.create().withMode(CreateMode.EPHEMERAL).forPath("/c/ephemeral");
            require(a.checkExists().forPath("/c/ephemeral") != null, "ephemeral there");
            shortLived.close();
            clients.remove(shortLived);
            require(a.checkExists().forPath("/c/ephemeral") == null, "ephemeral gone with its session");
        });

        check("service discovery", () -> {
            ServiceInstance<Void> me = ServiceInstance.<Void>builder().name("web").address("10.0.0.1").port(8080).build();
            ServiceDiscovery<Void> publisher = ServiceDiscoveryBuilder.builder(Void.class).client(a).basePath("/c/services").thisInstance(me).build();
            ServiceDiscovery<Void> reader = ServiceDiscoveryBuilder.builder(Void.class).client(b).basePath("/c/services").build();
            publisher.start();
            reader.start();
            require(reader.queryForNames().contains("web"), "name published");
            ServiceCache<Void> cache = reader.serviceCacheBuilder().name("web").build();
            cache.start();
            ServiceProvider<Void> provider = reader.serviceProviderBuilder().serviceName("web").build();
            provider.start();
            eventually("instance cached", () -> cache.getInstances().size() == 1);
            require(provider.getInstance().getPort() == 8080, "instance provided");
            publisher.unregisterService(me);
            eventually("instance gone", () -> cache.getInstances().isEmpty());
            provider.close();
            cache.close();
            reader.close();
            publisher.close();
        });
    }
}
