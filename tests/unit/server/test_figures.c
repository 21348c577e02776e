/* Figures and the parts of four-letter words that need no server. */
#include "unit.h"

#include "server_internal.h"

static void test_decimal(void **state)
{
    static const struct {
        double v;
        const char *text;
    } cases[] = { { 0, "0.0" }, { 1, "1.0" }, { 0.5, "0.5" }, { 0.1234, "0.1234" }, { 0.12345678, "0.1235" },
                  { 10.25, "10.25" }, { 100, "100.0" }, { 0.00001, "0.0" } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wr w = wr_init(0);

        wr_decimal(&w, cases[i].v);
        assert_string_equal(wr_cstr(&w), cases[i].text);
        wr_free(&w);
    }
}

static bool has_line(struct wr *w, const char *line)
{
    const char *at = strstr(wr_cstr(w), line);

    return at && (at == (const char *)w->p || at[-1] == '\n') && at[strlen(line)] == '\n';
}

/* One that a single thread keeps, shown in its own unit. */
static void test_plain_summary(void **state)
{
    struct figure_summary f = { 0 };
    struct wr w = wr_init(0);

    assert_int_equal(summary_quantile(&f, 0.5), 0);
    for (uint64_t ms = 1; ms <= 1000; ms++)
        summary_record(&f, ms);
    assert_true(summary_quantile(&f, 0.5) >= 500 && summary_quantile(&f, 0.5) <= 560);
    assert_int_equal(summary_quantile(&f, 1.0), 1000); /* never above the largest */
    figure_mntr(&f, "x_latency", 1, true, &w);
    assert_true(has_line(&w, "zk_avg_x_latency\t500.5"));
    assert_true(has_line(&w, "zk_min_x_latency\t1"));
    assert_true(has_line(&w, "zk_max_x_latency\t1000"));
    assert_true(has_line(&w, "zk_cnt_x_latency\t1000"));
    assert_true(has_line(&w, "zk_sum_x_latency\t500500"));
    assert_non_null(strstr(wr_cstr(&w), "zk_p999_x_latency\t1000\n"));
    wr_reset(&w);
    figure_mntr(&f, "x_time", 1000, false, &w);
    assert_true(has_line(&w, "zk_avg_x_time\t0.5005"));
    assert_true(has_line(&w, "zk_max_x_time\t1"));
    assert_null(strstr(wr_cstr(&w), "p999"));
    wr_free(&w);
}

static void test_summary(void **state)
{
    struct thread_stats *a = x_calloc(1, sizeof(*a)), *b = x_calloc(1, sizeof(*b));
    struct figures *f = x_calloc(1, sizeof(*f));
    struct wr w = wr_init(0);

    for (uint64_t ms = 1; ms <= 100; ms++)
        stats_record(ms % 2 ? a : b, SUM_READ_LATENCY, ms * 1000);
    stats_record_n(b, SUM_UPDATE_LATENCY, 500, 10);
    stats_add(a, CTR_PACKETS_SENT, 3);
    stats_add(b, CTR_PACKETS_SENT, 4);
    figures_add(f, a, 0);
    figures_add(f, b, 0);
    f->znode_count = 5;
    figures_mntr(f, &w);
    assert_true(has_line(&w, "zk_packets_sent\t7"));
    assert_true(has_line(&w, "zk_znode_count\t5"));
    assert_true(has_line(&w, "zk_cnt_readlatency\t100"));
    assert_true(has_line(&w, "zk_min_readlatency\t1"));
    assert_true(has_line(&w, "zk_max_readlatency\t100"));
    assert_true(has_line(&w, "zk_avg_readlatency\t50.5"));
    assert_true(has_line(&w, "zk_sum_readlatency\t5050"));
    assert_true(has_line(&w, "zk_avg_updatelatency\t0.5"));
    assert_true(has_line(&w, "zk_max_latency\t100"));
    assert_true(has_line(&w, "zk_min_latency\t0"));
    wr_reset(&w);
    figures_prometheus(f, &w);
    assert_true(has_line(&w, "packets_sent 7"));
    assert_true(has_line(&w, "# TYPE packets_sent counter"));
    assert_true(has_line(&w, "readlatency_count 100"));
    assert_true(has_line(&w, "readlatency{quantile=\"0.999\"} 100.0"));
    wr_free(&w);
    free(a);
    free(b);
    free(f);
}

/* Quantiles are of buckets: never below the true value, and at most a quarter above. */
static void test_quantiles_are_close(void **state)
{
    for (uint64_t v = 1; v < UINT64_C(1) << 36; v = v * 3 + 1) {
        struct thread_stats *st = x_calloc(1, sizeof(*st));
        struct figures *f = x_calloc(1, sizeof(*f));
        struct wr w = wr_init(0);

        stats_record_n(st, SUM_READ_LATENCY, v, 99);
        stats_record_n(st, SUM_READ_LATENCY, v * 2, 1);
        figures_add(f, st, 0);
        figures_prometheus(f, &w);
        const char *at = strstr(wr_cstr(&w), "readlatency{quantile=\"0.5\"} ");
        assert_non_null(at);
        double got = strtod(at + strlen("readlatency{quantile=\"0.5\"} "), NULL) * 1000;
        assert_true(got >= (double)v * 0.999 - 0.1 && got <= (double)v * 1.25 + 0.1);
        wr_free(&w);
        free(st);
        free(f);
    }
}

/* What belongs to an older generation counts for nothing, and its owner starts anew. */
static void test_reset(void **state)
{
    struct thread_stats *st = x_calloc(1, sizeof(*st));
    struct figures *f = x_calloc(1, sizeof(*f));

    stats_add(st, CTR_COMMITS, 9);
    stats_record(st, SUM_FSYNC_TIME, 100);
    figures_add(f, st, 1);
    assert_int_equal(f->counter[CTR_COMMITS], 0);
    stats_catch_up(st, 1);
    stats_add(st, CTR_COMMITS, 2);
    figures_add(f, st, 1);
    assert_int_equal(f->counter[CTR_COMMITS], 2);
    assert_int_equal(f->summary[SUM_FSYNC_TIME].count, 0);
    free(st);
    free(f);
}

static void test_whitelist(void **state)
{
    static const struct {
        const char *list, *word;
        bool allowed;
    } cases[] = {
        { "srvr", "srvr", true },       { "", "srvr", true },           { NULL, "srvr", true },
        { "srvr", "ruok", false },      { "*", "mntr", true },          { "ruok, stat ,mntr", "stat", true },
        { "ruok,stat", "mntr", false }, { "ruokstat", "ruok", false },  { "srvr,*", "wchc", true },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int word = four_letter_find((const uint8_t *)cases[i].word);

        assert_true(word >= 0);
        assert_int_equal(four_letter_allowed(cases[i].list, word), cases[i].allowed);
    }
    assert_int_equal(four_letter_find((const uint8_t *)"RUOK"), -1);
    assert_int_equal(four_letter_find((const uint8_t *)"\0\0\0\x2d"), -1);
}

static void test_frames(void **state)
{
    static const uint8_t stream[] = { 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };
    struct buf f;

    for (size_t n = 0; n < 7; n++)
        assert_int_equal(frame_next(stream, n, 100, &f), 0);
    for (size_t n = 7; n <= sizeof(stream); n++) {
        assert_int_equal(frame_next(stream, n, 100, &f), 7);
        assert_ptr_equal(f.p, stream + 4);
        assert_int_equal(f.n, 3);
    }
    assert_int_equal(frame_next(stream + 7, 4, 100, &f), 4); /* empty frame */
    assert_int_equal(f.n, 0);
    assert_int_equal(frame_next(stream + 11, 4, 100, &f), RC_TOOBIG); /* negative */
    assert_int_equal(frame_next(stream, 7, 3, &f), 7);                /* just at the limit */
    assert_int_equal(frame_next(stream, 4, 2, &f), RC_TOOBIG);        /* known from the prefix alone */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decimal),   cmocka_unit_test(test_plain_summary), cmocka_unit_test(test_summary),   cmocka_unit_test(test_quantiles_are_close),
        cmocka_unit_test(test_reset),     cmocka_unit_test(test_whitelist), cmocka_unit_test(test_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
