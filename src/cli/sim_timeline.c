/* sim_timeline.c - the timeline as text with lanes, as `git log --graph` draws branches, and as SVG. */
#include "sim_timeline.h"

#include "base/str.h"

enum { SERVERS_MAX = 16, SVG_ROWS_MAX = 1200, EACH_SERVER = 4 };

/* ---- what a server is at a moment ---- */

enum lane_state { LANE_DOWN, LANE_LOOKING, LANE_FOLLOWING, LANE_LEADING, LANE_OBSERVING, LANE_PAUSED };

static const struct {
    enum sim_line_kind kind;
    const char *word; /* the text begins with it */
    enum lane_state state;
} transitions[] = {
    { SIM_LINE_LIFE, "starts", LANE_LOOKING },
    { SIM_LINE_LIFE, "goes on", LANE_LOOKING },
    { SIM_LINE_LIFE, "stands still", LANE_PAUSED },
    { SIM_LINE_LIFE, "ends", LANE_DOWN },
    { SIM_LINE_LIFE, "loses power", LANE_DOWN },
    { SIM_LINE_LIFE, "is dead", LANE_DOWN },
    { SIM_LINE_LIFE, "without power", LANE_DOWN },
    { SIM_LINE_LIFE, "does not start", LANE_DOWN },
    { SIM_LINE_ROLE, "looking", LANE_LOOKING },
    { SIM_LINE_ROLE, "leading", LANE_LEADING },
    { SIM_LINE_ROLE, "following", LANE_FOLLOWING },
    { SIM_LINE_ROLE, "observing", LANE_OBSERVING },
    { SIM_LINE_ROLE, "serves as leader", LANE_LEADING },
    { SIM_LINE_ROLE, "serves as learner", LANE_FOLLOWING },
    { SIM_LINE_ROLE, "serves as observer", LANE_OBSERVING },
    { SIM_LINE_ROLE, "serves no longer", LANE_LOOKING },
};

static void note_state(enum lane_state states[SERVERS_MAX + 1], const struct apart_line *l)
{
    if (l->server <= 0 || l->server > SERVERS_MAX)
        return;
    for (size_t i = 0; i < ARRAY_LEN(transitions); i++)
        if (transitions[i].kind == l->kind && str_has_prefix(l->text, transitions[i].word))
            states[l->server] = transitions[i].state;
}

/* ---- which lines ---- */

struct chosen {
    const struct apart_line **items;
    size_t len, all;
    int64_t servers;
};

static int64_t servers_of(const struct apart_result *r, const struct chosen *c)
{
    int64_t n = (int64_t)r->servers + r->observers; /* a run that crashed could not say */

    for (size_t i = 0; i < c->len; i++)
        n = MAX(n, MAX(c->items[i]->server, c->items[i]->to));
    return MIN(n, (int64_t)SERVERS_MAX);
}

/* Keeps the last `total`, and beyond them the last few of every server. */
static void keep_last(struct chosen *c, size_t total)
{
    size_t per[SERVERS_MAX + 1] = { 0 }, kept = 0, from = c->len;

    while (from > 0) {
        const struct apart_line *l = c->items[from - 1];
        size_t s = l->server > 0 && l->server <= SERVERS_MAX ? (size_t)l->server : 0;
        bool wanted = kept < total || (s > 0 && per[s] < EACH_SERVER && kept < 2 * total);
        per[s]++;
        kept += wanted;
        if (!wanted)
            c->items[from - 1] = NULL;
        from--;
    }
    size_t n = 0;
    for (size_t i = 0; i < c->len; i++)
        if (c->items[i])
            c->items[n++] = c->items[i];
    c->len = n;
}

static struct chosen choose(const struct apart_result *r, size_t total, bool messages)
{
    struct chosen c = { 0 };
    size_t n = 0;

    c.len = c.all = apart_lines(r, &c.items);
    c.servers = servers_of(r, &c);
    for (size_t i = 0; i < c.len; i++)
        if (messages || c.items[i]->kind != SIM_LINE_MESSAGE)
            c.items[n++] = c.items[i];
    c.len = n;
    if (total > 0 && c.len > total)
        keep_last(&c, total);
    return c;
}

/* ---- text ---- */

struct glyphs {
    const char *lane[6], *event[8], *dash, *left, *right;
};
static const struct glyphs ascii = {
    .lane = { " ", ":", "|", "#", "|", "=" },
    .event = { "!", "+", "o", "*", "*", "o", "*", "X" },
    .dash = "-", .left = "<", .right = ">",
};
static const struct glyphs utf8 = {
    .lane = { " ", "┊", "│", "┃", "│", "═" },
    .event = { "⚡", "◆", "◉", "·", "▪", "○", "•", "✖" },
    .dash = "─", .left = "◀", .right = "▶",
};
static const char *const colours[] = {
    [SIM_LINE_FAULT] = "\033[33m", [SIM_LINE_LIFE] = "\033[35m", [SIM_LINE_ROLE] = "\033[36m", [SIM_LINE_LOG] = "", [SIM_LINE_DISK] = "\033[2m",
    [SIM_LINE_MESSAGE] = "\033[2m", [SIM_LINE_CLIENT] = "\033[2m", [SIM_LINE_FINDING] = "\033[1;31m",
};

/* A lane and the gap behind it. */
static void put_lane(FILE *out, const struct glyphs *g, const struct apart_line *l, int64_t lane, const enum lane_state *states)
{
    int64_t lo = MIN(l->server, l->to), hi = MAX(l->server, l->to);
    bool arrow = l->kind == SIM_LINE_MESSAGE && l->to > 0;
    const char *mark = g->lane[states[lane]], *gap = " ";

    if (lane == l->server)
        mark = g->event[l->kind];
    else if (arrow && lane == l->to)
        mark = l->to > l->server ? g->right : g->left;
    else if (arrow && lane > lo && lane < hi)
        mark = g->dash;
    if (arrow && lane >= lo && lane < hi)
        gap = g->dash;
    (void)fprintf(out, "%s%s", mark, gap);
}

/* As much of the text as fits, not cut within a character. */
static int fitting(const char *text, int room)
{
    int n = 0;

    while (text[n] && room > 0) {
        n++;
        while (((unsigned char)text[n] & 0xc0) == 0x80)
            n++;
        room--;
    }
    return n;
}

static void put_row(FILE *out, const struct apart_line *l, int64_t servers, const enum lane_state *states, struct timeline_style style)
{
    const struct glyphs *g = style.unicode ? &utf8 : &ascii;
    const char *colour = style.colour ? colours[l->kind] : "";
    int room = style.width > 0 ? MAX(style.width - (int)(20 + 2 * servers), 20) : (int)sizeof(l->text);

    (void)fprintf(out, "%11.6f  ", (double)l->at_us / 1e6);
    for (int64_t lane = 1; lane <= servers; lane++)
        put_lane(out, g, l, lane, states);
    if (l->server == 0)
        (void)fprintf(out, "%s%s ", colour, g->event[l->kind]);
    else if (l->to > 0)
        (void)fprintf(out, "%s%lld to %lld ", colour, (long long)l->server, (long long)l->to);
    else
        (void)fprintf(out, "%s%lld ", colour, (long long)l->server);
    (void)fprintf(out, "%.*s%s\n", fitting(l->text, room), l->text, *colour ? "\033[0m" : "");
}

void timeline_text(FILE *out, const struct apart_result *r, size_t total, bool messages, struct timeline_style style)
{
    struct chosen c = choose(r, total, messages);
    enum lane_state states[SERVERS_MAX + 1] = { 0 };
    const struct apart_line **every;
    size_t n = apart_lines(r, &every), next = 0;

    (void)fprintf(out, "    seconds  ");
    for (int64_t lane = 1; lane <= c.servers; lane++)
        (void)fprintf(out, "%-2lld", (long long)lane);
    (void)fputs("\n", out);
    /* Lines that are not shown still tell what the servers were. */
    for (size_t i = 0; i < n; i++) {
        if (next < c.len && every[i] == c.items[next]) {
            put_row(out, every[i], c.servers, states, style);
            next++;
        }
        note_state(states, every[i]);
    }
    free(every);
    free(c.items);
}

/* ---- SVG ---- */

enum { ROW = 16, TOP = 84, LANE = 46, LANES_AT = 96 };

static void put_escaped(FILE *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        switch (*p) {
        case '&':
            (void)fputs("&amp;", out);
            break;
        case '<':
            (void)fputs("&lt;", out);
            break;
        case '>':
            (void)fputs("&gt;", out);
            break;
        case '"':
            (void)fputs("&quot;", out);
            break;
        default:
            (void)fputc((unsigned char)*p < 0x20 ? ' ' : *p, out);
        }
    }
}

static int lane_x(int64_t lane)
{
    return LANES_AT + (int)(lane - 1) * LANE + LANE / 2;
}
static int row_y(size_t row)
{
    return TOP + (int)row * ROW + ROW / 2;
}

static const char *const classes[] = {
    [SIM_LINE_FAULT] = "fault", [SIM_LINE_LIFE] = "life", [SIM_LINE_ROLE] = "role", [SIM_LINE_LOG] = "log", [SIM_LINE_DISK] = "disk",
    [SIM_LINE_MESSAGE] = "message", [SIM_LINE_CLIENT] = "client", [SIM_LINE_FINDING] = "finding",
};
static const char *const lane_classes[] = {
    [LANE_DOWN] = "down", [LANE_LOOKING] = "looking", [LANE_FOLLOWING] = "following", [LANE_LEADING] = "leading",
    [LANE_OBSERVING] = "observing", [LANE_PAUSED] = "paused",
};
static const char svg_style[] =
    "svg{background:#fff}text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#1d232b}"
    ".title{font-size:16px;font-weight:600}.note,.t{fill:#7a8491}.t{text-anchor:end}.head{text-anchor:middle;font-weight:600}"
    ".fault text{fill:#9a5b00}.life text{fill:#7a2f8f}.role text{fill:#0b6b78}.finding text{fill:#c01c28;font-weight:700}"
    ".disk text,.message text,.client text,g .t{fill:#7a8491}.fault circle{fill:#e08a00}.life circle{fill:#8f3fa8}.role circle{fill:#1590a1}"
    ".log circle{fill:#5b6673}.disk circle,.client circle{fill:#a9b2bd}.finding circle{fill:#e01b24}.message path{stroke:#9aa5b1;fill:none}"
    ".lane{stroke-width:4}.looking{stroke:#c9cfd6;stroke-dasharray:2 3}.following{stroke:#7fb3e6}.leading{stroke:#2a9d5c;stroke-width:8}"
    ".observing{stroke:#b9a3e3}.paused{stroke:#d5a24a;stroke-dasharray:6 3}"
    "@media(prefers-color-scheme:dark){svg{background:#14181d}text{fill:#e6e9ed}.note,.t,g .t,.disk text,.message text,.client text{fill:#9aa5b1}"
    ".fault text{fill:#f0b040}.life text{fill:#cf9be0}.role text{fill:#6fd0dc}.finding text{fill:#ff7b82}}";

static void svg_legend(FILE *out, int x)
{
    static const enum lane_state shown[] = { LANE_LEADING, LANE_FOLLOWING, LANE_OBSERVING, LANE_LOOKING, LANE_PAUSED };

    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        int at = x + (int)i * 96;
        (void)fprintf(out, "<path class=\"lane %s\" d=\"M%d 62h18\"/><text class=\"note\" x=\"%d\" y=\"66\">%s</text>\n",
                      lane_classes[shown[i]], at, at + 24, lane_classes[shown[i]]);
    }
}

/* The lane as it was from the row of `from` on. */
static void svg_lane(FILE *out, int64_t lane, enum lane_state state, size_t from, size_t to)
{
    if (state != LANE_DOWN && to > from)
        (void)fprintf(out, "<path class=\"lane %s\" d=\"M%d %dV%d\"/>\n", lane_classes[state], lane_x(lane), row_y(from), row_y(to));
}

static void svg_lanes(FILE *out, const struct apart_result *r, const struct chosen *c)
{
    enum lane_state states[SERVERS_MAX + 1] = { 0 }, before[SERVERS_MAX + 1];
    size_t since[SERVERS_MAX + 1] = { 0 }, row = 0;
    const struct apart_line **every;
    size_t n = apart_lines(r, &every);

    for (size_t i = 0; i < n; i++) {
        memcpy(before, states, sizeof(states));
        note_state(states, every[i]);
        for (int64_t s = 1; s <= c->servers; s++)
            if (states[s] != before[s]) {
                svg_lane(out, s, before[s], since[s], row);
                since[s] = row;
            }
        row += row < c->len && c->items[row] == every[i];
    }
    for (int64_t s = 1; s <= c->servers; s++)
        svg_lane(out, s, states[s], since[s], c->len);
    free(every);
}

static void svg_row(FILE *out, const struct apart_line *l, size_t row, int text_x)
{
    int y = row_y(row);

    (void)fprintf(out, "<g class=\"%s\"><text class=\"t\" x=\"%d\" y=\"%d\">%.6f</text>", classes[l->kind], LANES_AT - 8, y + 4,
                  (double)l->at_us / 1e6);
    if (l->kind == SIM_LINE_MESSAGE && l->server > 0 && l->to > 0 && l->to <= SERVERS_MAX && l->server <= SERVERS_MAX)
        (void)fprintf(out, "<path marker-end=\"url(#a)\" d=\"M%d %dH%d\"/>", lane_x(l->server), y,
                      lane_x(l->to) + (l->to > l->server ? -4 : 4));
    else if (l->server > 0 && l->server <= SERVERS_MAX)
        (void)fprintf(out, "<circle cx=\"%d\" cy=\"%d\" r=\"%d\"/>", lane_x(l->server), y, l->kind == SIM_LINE_FINDING ? 6 : 4);
    (void)fprintf(out, "<text x=\"%d\" y=\"%d\">", text_x, y + 4);
    if (l->to > 0)
        (void)fprintf(out, "%lld to %lld ", (long long)l->server, (long long)l->to);
    else if (l->server > 0)
        (void)fprintf(out, "%lld ", (long long)l->server);
    put_escaped(out, l->text);
    (void)fputs("</text></g>\n", out);
}

void timeline_svg(FILE *out, const struct apart_result *r, const char *title)
{
    struct chosen c = choose(r, SVG_ROWS_MAX, true);
    int text_x = LANES_AT + (int)c.servers * LANE + 12, width = text_x + 900, height = row_y(c.len) + 24;

    (void)fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
                  width, height, width, height);
    put_escaped(out, title);
    (void)fprintf(out, "</title>\n<style>%s</style>\n<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" "
                       "markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" style=\"fill:#9aa5b1\"/></marker></defs>\n"
                       "<text class=\"title\" x=\"16\" y=\"28\">", svg_style);
    put_escaped(out, title);
    (void)fprintf(out, "</text>\n<text class=\"note\" x=\"16\" y=\"46\">virtual seconds; the last %zu of %zu lines; rows are not to scale</text>\n",
                  c.len, c.all);
    svg_legend(out, text_x);
    for (int64_t s = 1; s <= c.servers; s++)
        (void)fprintf(out, "<text class=\"head\" x=\"%d\" y=\"66\">%lld</text>\n", lane_x(s), (long long)s);
    svg_lanes(out, r, &c);
    for (size_t i = 0; i < c.len; i++)
        svg_row(out, c.items[i], i, text_x);
    (void)fputs("</svg>\n", out);
    free(c.items);
}

int timeline_write(const char *path, const struct apart_result *r, const char *title)
{
    FILE *out = fopen(path, "we");

    if (!out)
        return RC_IO;
    if (str_has_suffix(path, ".svg"))
        timeline_svg(out, r, title);
    else
        timeline_text(out, r, 0, true, (struct timeline_style){ .unicode = true });
    bool bad = ferror(out);
    return fclose(out) != 0 || bad ? RC_IO : 0;
}
