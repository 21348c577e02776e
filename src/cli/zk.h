/* zk.h - one-shot use of a ZooKeeper ensemble by a subcommand: connect, ask, wait, answer. */
#ifndef CLI_ZK_H
#define CLI_ZK_H

#include <jansson.h>
#include <uv.h>

#include "cli.h"
#include "quoll/quoll.h"

/* --zk and --auth, of every command that is a client; --timeout, of those that end. */
extern const struct flag zk_flags[], wait_flags[];
extern struct strs zk_servers_flag; /* joined by commas: see zk_connect_string */
extern int64_t zk_timeout_ms;

/* An answer that outlives its callback. */
struct answer {
    bool done;
    int err;
    char *path;
    uint8_t *data;
    size_t data_len;
    bool has_data, has_stat;
    struct quoll_stat stat;
    struct strs children; /* sorted */
};
void answer_free(struct answer *a);

struct zk {
    uv_loop_t loop;
    quoll_client *client;
    uv_timer_t deadline;
    bool expired, closed;
    char last_problem[256];
};
/* "127.0.0.1:2181" or what --zk says; owned by the flags. */
const char *zk_connect_string(void);
/* Connects within --timeout. EXIT_OK, or an exit code after a complaint that says what to do. */
int zk_open(struct zk *z);
void zk_close(struct zk *z);
/* The done function of every request: data is a struct answer. */
void zk_answer(quoll_client *c, const struct quoll_result *res, void *data);
/* Runs the loop until the answer is there; rc is what the request call returned. Gives the operation's error. */
int zk_wait(struct zk *z, int rc, struct answer *a);
/* A complaint about a failed operation on a path, and the exit code that fits it. */
int zk_complain(const struct zk *z, int err, const char *path);
/* Adds --auth's identity to a client. EXIT_OK, or a complaint's code. */
int zk_add_auth(quoll_client *client, struct zk *z);

/* Checks a path given as an argument: EXIT_OK or a complaint. */
int zk_check_path(const char *path);
json_t *zk_stat_json(const struct quoll_stat *s);
void zk_stat_print(const struct quoll_stat *s);
/* The data as JSON: a string when it is UTF-8 text, else {"base64": "..."}; null when there is none. */
json_t *zk_data_json(const struct answer *a);
/* Reads a VALUE argument: "-" is standard input, "@FILE" a file, anything else itself. Owned. EXIT_OK or a complaint. */
int zk_value(const char *arg, uint8_t **ret, size_t *ret_len);
void print_json(json_t *j); /* takes it; pretty, one newline */

#endif
