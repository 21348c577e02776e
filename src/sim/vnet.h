/* vnet.h - the network between hosts: connections that deliver bytes in order, late, or not at all.
 *
 * Like TCP   A connection delivers each direction's bytes in order and whole; between connections anything overtakes. A link that carries nothing
 *            loses nothing either: what was sent waits (it is sent again) until the link is back or an end gives up. The sender may have a
 *            window of bytes under way that the receiver has not taken.
 * Ends       A killed process' connections are closed or reset by its kernel. A host without power says nothing: its peers hear of it when
 *            they send to it after it is back.
 * Time       A host's sends depart at now + its lag: see vdisk.h on turns that take time.
 * Callbacks  `accepted` and `look` only note: they must not call vsock functions. */
#ifndef SIM_VNET_H
#define SIM_VNET_H

#include "world.h"

enum vnet_port { VPORT_ELECTION, VPORT_QUORUM, VPORT_CLIENT, VPORT_COUNT };

struct vnet;
struct vsock;
struct vnet_ops {
    void (*accepted)(void *data, enum vnet_port port, struct vsock *s);
    void (*look)(void *data, struct vsock *s); /* connected, refused, readable, writable again, ended */
    int64_t (*lag_us)(void *data);             /* how far the process is ahead of the world's time */
};

struct vnet *vnet_new(struct world *w, uint32_t hosts);
void vnet_free(struct vnet *n);

/* A process runs on the host from now on; it was without one. */
void vnet_host_up(struct vnet *n, uint32_t host, const struct vnet_ops *ops, void *data);
/* It ended at at_us (now or before what it sent ahead of time). power: without a word. All its sockets are gone. */
void vnet_host_down(struct vnet *n, uint32_t host, bool power, int64_t at_us);
void vnet_listen(struct vnet *n, uint32_t host, enum vnet_port port, bool listen);

struct vsock *vnet_connect(struct vnet *n, uint32_t from, uint32_t to, enum vnet_port port);
enum vsock_state { VSOCK_CONNECTING, VSOCK_OPEN, VSOCK_BROKEN /* refused or reset */ };
enum vsock_state vsock_state(const struct vsock *s);
uint32_t vsock_peer(const struct vsock *s); /* host */
void *vsock_user(const struct vsock *s);
void vsock_set_user(struct vsock *s, void *user);
/* How much was taken: less than n when the window is full. */
size_t vsock_send(struct vsock *s, const void *p, size_t n);
/* Bytes; 0: the end; RC_BUSY: nothing now; RC_CLOSED: reset, refused. */
int64_t vsock_recv(struct vsock *s, void *p, size_t n);
void vsock_shut(struct vsock *s);              /* sends the end; reading goes on */
void vsock_close(struct vsock *s, bool reset); /* s is gone */
int64_t vsock_stuck_us(const struct vsock *s); /* since when bytes of ours could not be delivered; 0: they can */

/* ---- faults ---- */

/* One direction between two hosts: counted, so that faults may overlap. */
void vnet_block(struct vnet *n, uint32_t from, uint32_t to, bool block);
bool vnet_blocked(const struct vnet *n, uint32_t from, uint32_t to);
void vnet_set_delay(struct vnet *n, uint32_t from, uint32_t to, int64_t from_us, int64_t to_us);
/* Some connection between servers (below host `servers`) is reset, or carries nothing any more (until `loud`). False: there is none. */
bool vnet_reset_some(struct vnet *n, struct sim_rng *r, uint32_t hosts);
void vnet_reset_host(struct vnet *n, uint32_t host, uint32_t hosts); /* all of this host's to servers */
/* The far ends of this host's connections to servers break, as when something on the way refuses what the others send; it hears nothing of it. */
void vnet_break_others(struct vnet *n, uint32_t host, uint32_t hosts);
bool vnet_silence_some(struct vnet *n, struct sim_rng *r, uint32_t hosts);
void vnet_loud(struct vnet *n);

#endif
