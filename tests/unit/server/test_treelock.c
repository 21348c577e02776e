/* The tree lock under load. The guarded values are plain on purpose: a thread sanitizer sees every hole in the lock. */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "server/treelock.h"

enum { READERS = 4, WRITES = 3000, READS_AT_LEAST = 200 };

struct world {
    struct treelock *lock;
    long a, b; /* equal whenever nobody writes */
    _Atomic bool over;
    _Atomic uint32_t busy_readers;
    _Atomic long reads[READERS];
};
struct reader {
    struct world *w;
    uint32_t slot;
};

static void *read_on(void *arg)
{
    struct reader *r = arg;
    struct world *w = r->w;

    while (!atomic_load(&w->over) || atomic_load(&w->reads[r->slot]) < READS_AT_LEAST) {
        treelock_read_lock(w->lock, r->slot);
        long a = w->a;
        for (int i = 0; i < 50; i++)
            ASSERT(w->b == a);
        treelock_read_unlock(w->lock, r->slot);
        atomic_fetch_add(&w->reads[r->slot], 1);
    }
    return NULL;
}

static bool all_have_read(struct world *w)
{
    for (int i = 0; i < READERS; i++)
        if (atomic_load(&w->reads[i]) < READS_AT_LEAST)
            return false;
    return true;
}

static void test_readers_see_whole_writes(void **state)
{
    struct world w = { .lock = treelock_new(READERS) };
    struct reader readers[READERS];
    pthread_t threads[READERS];
    long writes = 0;

    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){ &w, i };
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
    }
    while (writes < WRITES || !all_have_read(&w)) {
        treelock_write_lock(w.lock);
        assert_int_equal(w.a, w.b);
        w.a++;
        w.b++;
        treelock_write_unlock(w.lock);
        writes++;
    }
    atomic_store(&w.over, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(w.a, writes);
    assert_int_equal(w.b, writes);
    treelock_free(w.lock);
}

struct late_writer {
    struct treelock *lock;
    _Atomic bool inside;
};

static void *write_once(void *arg)
{
    struct late_writer *l = arg;

    treelock_write_lock(l->lock);
    atomic_store(&l->inside, true);
    treelock_write_unlock(l->lock);
    return NULL;
}

/* A writer that waits is seen by the reader, which can give way to it; and it does not get in before. */
static void test_a_reader_can_give_way(void **state)
{
    struct late_writer l = { .lock = treelock_new(2) };
    pthread_t thread;

    treelock_read_lock(l.lock, 1);
    assert_false(treelock_contended(l.lock));
    assert_int_equal(pthread_create(&thread, NULL, write_once, &l), 0);
    while (!treelock_contended(l.lock))
        ;
    assert_false(atomic_load(&l.inside));
    treelock_read_unlock(l.lock, 1);
    treelock_read_lock(l.lock, 1); /* only behind the writer, which came first */
    assert_true(atomic_load(&l.inside));
    treelock_read_unlock(l.lock, 1);
    pthread_join(thread, NULL);
    treelock_free(l.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_see_whole_writes),
        cmocka_unit_test(test_a_reader_can_give_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
