/* wire_util.c - bytes written as hexadecimal digits, and the recorded traffic between Apache's servers. */
#include "wire_util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <jansson.h>

static int digit(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

void wire_hex(struct wr *w, const char *hex)
{
    while (*hex) {
        if (*hex == ' ' || *hex == '|') {
            hex++;
        } else if (*hex == '\'') {
            for (hex++; *hex != '\''; hex++)
                wr_u8(w, (uint8_t)*hex);
            hex++;
        } else {
            wr_u8(w, (uint8_t)(digit(hex[0]) << 4 | digit(hex[1])));
            hex += 2;
        }
    }
}

static struct wire_stream *stream_of(struct wire_streams *all, const char *file, const json_t *line)
{
    int stream = (int)json_integer_value(json_object_get(line, "stream"));
    bool to_server = json_is_true(json_object_get(line, "to_server"));

    for (size_t i = 0; i < all->len; i++) {
        struct wire_stream *s = &all->items[i];

        if (s->file == file && s->stream == stream && s->to_server == to_server)
            return s;
    }
    struct wire_stream s = { .file = file, .stream = stream, .to_server = to_server };
    s.server_port = (int)json_integer_value(json_object_get(line, "server_port"));
    VEC_PUSH(all, s);
    return &all->items[all->len - 1];
}

static void load_file(struct wire_streams *all, const char *dir, const char *file)
{
    char path[512], *text = NULL;
    size_t cap = 0;

    (void)snprintf(path, sizeof(path), "%s/zookeeper-quorum/%s", dir, file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (getline(&text, &cap, f) > 0) {
        json_t *line = json_loads(text, 0, NULL);
        const char *hex = json_string_value(json_object_get(line, "hex"));

        assert_non_null(line);
        if (hex)
            wire_hex(&stream_of(all, file, line)->bytes, hex);
        json_decref(line);
    }
    free(text);
    fclose(f);
}

struct wire_streams wire_load(const char *dir)
{
    static const char *const files[] = {
        "1-election-and-write.jsonl",
        "2-follower-behind-diff.jsonl",
        "3-empty-follower-snap.jsonl",
        "4-old-leader-snap-across-epochs.jsonl",
        "5-leader-killed.jsonl",
        "6-old-leader-trunc-same-epoch.jsonl",
    };
    struct wire_streams all = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        load_file(&all, dir, files[i]);
    assert_true(all.len > 40);
    return all;
}

void wire_free(struct wire_streams *s)
{
    for (size_t i = 0; i < s->len; i++)
        wr_free(&s->items[i].bytes);
    VEC_FREE(s);
}
