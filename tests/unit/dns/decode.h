/* decode.h - replies as text, for tests: a decoder of its own, so that a mistake of the writer shows. */
#ifndef TEST_DNS_DECODE_H
#define TEST_DNS_DECODE_H

#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>

#include "answer.h"
#include "discovery/table.h"

struct record {
    int section; /* 1 answer, 2 authority, 3 additional */
    char *text;  /* "owner ttl TYPE rdata"; OPT is left out */
};
struct decoded {
    uint16_t id, flags, rcode;
    uint16_t qdcount;
    char question[DNS_TEXT_MAX];
    bool edns;
    bool dnssec_ok;
    uint16_t edns_size;
    struct VEC(struct record) records;
};

/* Fails the test when the message is not one. */
void decode(const uint8_t *p, size_t n, struct decoded *ret);
void decoded_free(struct decoded *d);
size_t decoded_count(const struct decoded *d, int section);
/* The text of record i of a section; fails the test when there are fewer. */
const char *decoded_text(const struct decoded *d, int section, size_t i);

uint16_t type_of(const char *name); /* fails the test for a type that it does not know */
const char *rcode_name(uint16_t rcode);

struct ask_options {
    uint16_t class;    /* 0: IN */
    bool edns;
    uint8_t version;
    uint16_t size;     /* 0: 1232 */
    bool dnssec_ok, norec, cd;
};
/* A query as bytes; returns its length. */
size_t query(uint8_t out[512], const char *name, uint16_t type, const struct ask_options *o);

/* registry.json into a new table; not marked as synced. */
struct svc_table *fixture_table(void);

#endif
