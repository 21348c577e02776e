/* sim_timeline.h - what happened, drawn: one lane per server, time goes down. */
#ifndef CLI_SIM_TIMELINE_H
#define CLI_SIM_TIMELINE_H

#include <stdio.h>

#include "sim_apart.h"

struct timeline_style {
    bool unicode, colour;
    int width; /* of the terminal; 0: lines are not cut */
};

/* The last lines: `total` in all, of which every server gets some, without messages unless asked for. 0: all. */
void timeline_text(FILE *out, const struct apart_result *r, size_t total, bool messages, struct timeline_style style);
/* A self-contained picture. title: "seed 4711, ..." */
void timeline_svg(FILE *out, const struct apart_result *r, const char *title);
/* By the file's name: .svg is a picture, anything else text. 0, or RC_IO with errno. */
int timeline_write(const char *path, const struct apart_result *r, const char *title);

#endif
