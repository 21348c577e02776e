/* treelock.c - the big-reader lock of server/treelock.h.
 *
 * A reader announces itself in its own line and then looks whether a writer is there; the writer announces itself and then
 * looks at every line. Both announcements are sequentially consistent, so at least one of the two sees the other: the
 * reader then steps back, which is what makes the writer win. Waiting spins for a moment (both sides hold for microseconds)
 * and then sleeps in a futex; the value 2 in either word says that somebody sleeps on it and must be woken. */
#include "server/treelock.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FREE = 0, HELD = 1, HELD_AND_AWAITED = 2 };
enum { SPINS = 200 };

struct slot {
    _Alignas(64) _Atomic uint32_t state;
};
struct treelock {
    _Alignas(64) _Atomic uint32_t writer;
    uint32_t readers;
    struct slot *slots;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    /* EAGAIN (the word moved on) and EINTR both mean: look again, which every caller does. */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Returns once *word is FREE. */
static void wait_until_free(_Atomic uint32_t *word)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) == FREE)
            return;
        spin_pause();
    }
    for (;;) {
        uint32_t v = atomic_load_explicit(word, memory_order_acquire);
        if (v == FREE)
            return;
        if (v == HELD && !atomic_compare_exchange_strong(word, &v, HELD_AND_AWAITED))
            continue;
        futex_wait(word, HELD_AND_AWAITED);
    }
}

struct treelock *treelock_new(uint32_t readers)
{
    struct treelock *l = aligned_alloc(64, sizeof(*l));
    struct slot *slots = aligned_alloc(64, sizeof(*slots) * MAX(readers, 1u));

    ASSERT(l);
    ASSERT(slots);
    atomic_init(&l->writer, FREE);
    for (uint32_t i = 0; i < readers; i++)
        atomic_init(&slots[i].state, FREE);
    l->readers = readers;
    l->slots = slots;
    return l;
}

void treelock_free(struct treelock *l)
{
    if (!l)
        return;
    free(l->slots);
    free(l);
}

static void slot_release(struct slot *s)
{
    if (atomic_exchange(&s->state, FREE) == HELD_AND_AWAITED)
        futex_wake_all(&s->state);
}

void treelock_read_lock(struct treelock *l, uint32_t reader)
{
    ASSERT(reader < l->readers);
    struct slot *s = &l->slots[reader];

    ASSERT(atomic_load_explicit(&s->state, memory_order_relaxed) == FREE); /* taken twice: would deadlock */
    for (;;) {
        atomic_store(&s->state, HELD);
        if (LIKELY(atomic_load(&l->writer) == FREE))
            return;
        slot_release(s);
        wait_until_free(&l->writer);
    }
}

void treelock_read_unlock(struct treelock *l, uint32_t reader)
{
    ASSERT(reader < l->readers);
    ASSERT(atomic_load_explicit(&l->slots[reader].state, memory_order_relaxed) != FREE);
    slot_release(&l->slots[reader]);
}

bool treelock_contended(const struct treelock *l)
{
    return atomic_load_explicit(&l->writer, memory_order_relaxed) != FREE;
}

void treelock_write_lock(struct treelock *l)
{
    ASSERT(atomic_load_explicit(&l->writer, memory_order_relaxed) == FREE); /* one writer, not nested */
    atomic_store(&l->writer, HELD);
    for (uint32_t i = 0; i < l->readers; i++)
        if (atomic_load(&l->slots[i].state) != FREE)
            wait_until_free(&l->slots[i].state);
}

void treelock_write_unlock(struct treelock *l)
{
    ASSERT(atomic_load_explicit(&l->writer, memory_order_relaxed) != FREE);
    if (atomic_exchange(&l->writer, FREE) == HELD_AND_AWAITED)
        futex_wake_all(&l->writer);
}
