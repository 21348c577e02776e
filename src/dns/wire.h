/* wire.h - DNS messages as bytes: reading queries and upstream answers, writing replies.
 *
 * Source     RFC 1035 section 4, RFC 6891 (EDNS), RFC 3597 (which rdata may hold compressed names).
 * Threading  None; one owner at a time. */
#ifndef DNS_WIRE_H
#define DNS_WIRE_H

#include "names.h"

#define DNS_HEADER_LEN 12
#define DNS_OPT_LEN    11 /* an OPT record without options */
#define DNS_UDP_MIN    512
#define DNS_UDP_MAX    1232 /* what crosses today's networks unfragmented (DNS flag day 2020) */
#define DNS_MSG_MAX    65535

enum dns_type {
    DNS_T_A = 1,
    DNS_T_NS = 2,
    DNS_T_CNAME = 5,
    DNS_T_SOA = 6,
    DNS_T_PTR = 12,
    DNS_T_HINFO = 13,
    DNS_T_MX = 15,
    DNS_T_TXT = 16,
    DNS_T_AAAA = 28,
    DNS_T_SRV = 33,
    DNS_T_OPT = 41,
    DNS_T_TSIG = 250,
    DNS_T_IXFR = 251,
    DNS_T_AXFR = 252,
    DNS_T_ANY = 255,
};
enum { DNS_CLASS_IN = 1 };

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16,
};

enum {
    DNS_F_QR = 0x8000,
    DNS_F_OPCODE = 0x7800,
    DNS_F_AA = 0x0400,
    DNS_F_TC = 0x0200,
    DNS_F_RD = 0x0100,
    DNS_F_RA = 0x0080,
    DNS_F_AD = 0x0020,
    DNS_F_CD = 0x0010,
};

struct dns_question {
    struct dname name; /* as asked */
    uint16_t type, class;
};

struct dns_query {
    uint16_t id, flags;
    bool has_question; /* q is filled */
    struct dns_question q;
    bool edns;
    uint8_t edns_version;
    bool dnssec_ok;
    uint16_t edns_size; /* the client's; 0 without EDNS */
};

/* Reads a query. 0; RC_SHORT: no header, or it is not a query: answer nothing; RC_UNSUPPORTED: an opcode other than QUERY;
 * RC_MALFORMED: FORMERR. id and flags are filled in but for RC_SHORT. */
int dns_query_parse(const uint8_t *p, size_t n, struct dns_query *ret);
/* Writes a recursive query for (name, type, IN) into out; returns its length. EDNS with DNS_UDP_MAX. */
#define DNS_QUERY_LEN_MAX (DNS_HEADER_LEN + DNS_NAME_MAX + 4 + DNS_OPT_LEN)
size_t dns_query_write(uint16_t id, const struct dname *name, uint16_t type, bool dnssec_ok, bool cd,
                       uint8_t out[DNS_QUERY_LEN_MAX]);

/* ---- writing replies ---- */

enum { DW_SLOTS = 1024 };

/* Writes one message into the caller's bytes. Compression finds earlier names by a hash of each suffix; case counts, so that
 * a name comes out as it went in. Slots of older messages are told by their generation: nothing is cleared in between. */
struct dns_writer {
    uint8_t *p;
    size_t n, max;
    bool overflow; /* sticky: something did not fit */
    uint32_t generation;
    uint32_t used;
    struct {
        uint32_t generation, hash;
        uint16_t at;
    } slots[DW_SLOTS];
};

/* Starts a message with a zeroed header. The writer itself must have been zeroed once. */
void dw_start(struct dns_writer *w, uint8_t *p, size_t max);
uint8_t *dw_room(struct dns_writer *w, size_t n); /* NULL and .overflow when it does not fit */
void dw_u16(struct dns_writer *w, uint16_t v);
void dw_u32(struct dns_writer *w, uint32_t v);
void dw_bytes(struct dns_writer *w, const void *p, size_t n);
/* `wire`: an uncompressed name. compress: may end in a pointer; every name may be pointed at later. */
void dw_name(struct dns_writer *w, const uint8_t *wire, bool compress);
/* Makes a name that stands uncompressed at `at` known for compression. */
void dw_know(struct dns_writer *w, size_t at);
/* Sets the header of the finished message. */
void dw_header(struct dns_writer *w, uint16_t id, uint16_t flags, const uint16_t counts[4]);

/* ---- upstream answers ---- */

/* A message taken apart: records with uncompressed names, so that they can be put into another message. One allocation. */
struct dns_msg {
    uint16_t flags;
    uint16_t rcode;     /* with the extended bits */
    uint16_t counts[3]; /* answer, authority, additional; without OPT and TSIG */
    uint32_t ttl_s;     /* how long it may be kept: the least TTL, or the negative TTL of RFC 2308; 0: not at all */
    size_t len;
    uint8_t data[];     /* records: name, u16 type, u16 class, u32 ttl, u16 rdlength, rdata */
};

#define DNS_MSG_UNPACKED_MAX (256 * 1024)

/* Reads a response to (id, name, type): RC_MALFORMED; RC_INVAL when it answers another question. *ret is owned: free(). */
int dns_msg_parse(const uint8_t *p, size_t n, uint16_t id, const struct dname *lower_name, uint16_t type,
                  struct dns_msg **ret);
/* Writes the records of one section (0 answer, 1 authority, 2 additional), TTLs lessened by age_s. Returns how many fitted
 * whole; .overflow is left clear. */
uint16_t dns_msg_write(const struct dns_msg *m, int section, uint32_t age_s, struct dns_writer *w);

#endif
