/* What servers say to each other before they are authenticated: any bytes end an exchange without harm, and none of them as proof of a password; any
 * JAAS file is read or refused with a line that names the place. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "jaas.h"
#include "server/qauth.h"

static struct qsasl *sasl;

static void begin(void)
{
    char path[] = "/tmp/quoll-fuzz-jaas-XXXXXX";
    struct qsasl_options opt = { .enabled = true, .jaas_file = path };
    struct storage_error err = { "" };
    int fd = mkstemp(path);

    ASSERT(fd >= 0);
    ASSERT(dprintf(fd, "QuorumServer { a.DigestLoginModule required user_a=\"unknown to bytes\"; };\n"
                       "QuorumLearner { a.DigestLoginModule required username=a password=\"unknown to bytes\"; };\n") > 0);
    close(fd);
    ASSERT(qsasl_new(&opt, &sasl, &err) == 0);
    (void)unlink(path);
}

static void check_exchange(const uint8_t *data, size_t size, bool server)
{
    struct wr out = wr_init(0);
    struct qauth *a = qauth_new(sasl, server, true, &out);
    size_t used = 0;

    ASSERT(qauth_take(a, data, size, &used, &out) != QAUTH_DONE);
    ASSERT(used <= size);
    qauth_free(a);
    wr_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jaas_section s;
    struct storage_error err = { "" };

    if (!sasl)
        begin();
    check_exchange(data, size, true);
    check_exchange(data, size, false);
    if (jaas_parse("jaas", (const char *)data, size, "QuorumServer", &s, &err) == 0)
        jaas_done(&s);
    else
        ASSERT(strncmp(err.text, "jaas:", 5) == 0);
    return 0;
}
