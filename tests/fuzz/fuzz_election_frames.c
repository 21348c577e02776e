/* Any bytes as what a peer sends to the election port: the initial message, then frames, each of which goes through a machine that
 * looks for a leader and one that has found it. */
#include "zab/election.h"

static const char config_text[] = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.9=o:1:2:observer\nversion=5";

static struct election *machine(bool settled)
{
    const struct election_options opt = { .my_sid = 2, .reconfig_enabled = true, .quorum = { .multi_address = true } };
    struct notification n = { ZAB_LOOKING, 2, 7, 1, 1, 2, { NULL, 0 } };
    struct quorum_config *c = NULL;

    ASSERT(quorum_config_parse(buf_str(config_text), &opt.quorum, &c, NULL) == 0);
    struct election *e = election_new(&opt, c, NULL);
    quorum_config_unref(c);
    election_start(e, 7, 1, 0);
    if (settled) {
        election_receive(e, 1, &n, 1);
        election_receive(e, 3, &n, 2);
        ASSERT(election_state(e) == ZAB_LEADING);
    }
    election_effects_clear(e);
    return e;
}

static void check_effects(struct election *e)
{
    const struct election_effect *f;
    size_t n = election_effects(e, &f);

    for (size_t i = 0; i < n; i++) {
        if (f[i].type == ELECTION_SEND) {
            ASSERT(f[i].sid != 2);
            ASSERT(f[i].msg.config.n > 0);
        }
        if (f[i].type == ELECTION_DECIDED)
            ASSERT(f[i].msg.state == election_state(e));
    }
    election_effects_clear(e);
}

static void frames(const uint8_t *p, size_t n, struct election *looking, struct election *settled)
{
    struct notification msg;
    struct buf payload;
    int64_t now = 10;
    size_t used;

    while (election_frame_decode(p, n, &payload, &used) == 0) {
        ASSERT(used <= n);
        if (notification_decode(payload, &msg) == 0) {
            int64_t from = now % 4 == 2 ? 4 : now % 4 + 1;

            election_receive(looking, from == 2 ? 3 : from, &msg, now);
            election_receive(settled, from == 2 ? 3 : from, &msg, now);
            check_effects(settled);
            check_effects(looking);
            if (msg.round % 5 == 0) {
                election_tick(looking, now += 200, msg.round % 2);
                check_effects(looking);
            }
        }
        now++;
        p += used;
        n -= used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hello h;
    size_t used;
    int rc = hello_decode(data, size, &h, &used);

    if (rc != 0) {
        ASSERT(rc != RC_SHORT || used > size);
        return 0;
    }
    ASSERT(used <= size);
    if (h.addrs_len > 0) {
        struct wr w = wr_init(0);
        struct hello again;
        size_t n;

        hello_encode(&w, &h);
        if (w.rc == 0) { /* brackets around a name with colons may make it too long */
            ASSERT(hello_decode(w.p, w.n, &again, &n) == 0);
            ASSERT(again.sid == h.sid);
        }
        wr_free(&w);
    }
    struct election *looking = machine(false), *settled = machine(true);
    frames(data + used, size - used, looking, settled);
    election_free(looking);
    election_free(settled);
    return 0;
}
