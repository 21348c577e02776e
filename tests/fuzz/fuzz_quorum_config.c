/* Any bytes as a configuration's text: what is taken is printed, and its print is read as the same, with the same quorums. The first byte
 * chooses the options, and the rest also serves as a reconfig request against a known configuration. */
#include "zab/quorum.h"

static void check_config(const struct quorum_config *c, const struct quorum_options *opt)
{
    struct quorum_config *again = NULL, *next = quorum_config_with_version(c, 77);
    struct sid_set some = { 0 };

    ASSERT(quorum_config_parse(c->text, opt, &again, NULL) == 0);
    ASSERT(buf_eq(c->text, again->text));
    ASSERT(quorum_config_same_members(c, again));
    ASSERT(quorum_config_same_members(c, next));
    ASSERT(!quorum_config_has_quorum(c, &some));
    for (size_t i = 0; i < c->members_len; i++) {
        (void)sid_set_add(&some, c->members[i].sid);
        ASSERT(quorum_config_has_quorum(c, &some) == quorum_config_has_quorum(again, &some));
    }
    if (!c->hierarchical) /* everybody */
        ASSERT(quorum_config_has_quorum(c, &some));
    sid_set_free(&some);
    quorum_config_unref(again);
    quorum_config_unref(next);
}

static void change(const char *text, const struct quorum_options *opt, int which)
{
    static const char base[] = "server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2;3\nversion=4";
    struct quorum_config *c = NULL, *next = NULL;
    struct quorum_change ch = { 0 };
    struct quorum_error err = { "" };

    *(which == 0 ? &ch.joining : which == 1 ? &ch.leaving : &ch.new_members) = text;
    ASSERT(quorum_config_parse(buf_str(base), opt, &c, NULL) == 0);
    int rc = quorum_config_change(c, &ch, opt, 99, &next, &err);
    if (rc == 0) {
        ASSERT(next->version == 99);
        check_config(next, opt);
        quorum_config_unref(next);
    } else {
        ASSERT(rc == RC_INVAL || rc == RC_TOOBIG || rc == RC_MALFORMED);
        ASSERT(err.text[0] != '\0');
    }
    quorum_config_unref(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quorum_config *c = NULL;

    if (size == 0)
        return 0;
    struct quorum_options opt = { .multi_address = data[0] & 1, .standalone_enabled = data[0] >> 1 & 1 };
    int rc = quorum_config_parse(buf_of(data + 1, size - 1), &opt, &c, NULL);
    if (rc == 0) {
        check_config(c, &opt);
        quorum_config_unref(c);
    }
    char *text = x_strndup((const char *)data + 1, size - 1);
    change(text, &opt, data[0] >> 2 & 3);
    free(text);
    return 0;
}
