/* log.c - formatting and the one write per line. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static atomic_int current_level = LOG_INFO;

static const struct {
    const char *name, *label, *colour;
} levels[] = {
    [LOG_ERROR] = { "error", "ERROR", "\033[31m" },
    [LOG_WARN] = { "warn", "WARN ", "\033[33m" },
    [LOG_INFO] = { "info", "INFO ", "\033[32m" },
    [LOG_DEBUG] = { "debug", "DEBUG", "\033[36m" },
};

static void (*sink)(void *data, enum log_level level, const char *component, const char *text);
static void *sink_data;

void log_set_sink(void (*fn)(void *data, enum log_level level, const char *component, const char *text), void *data)
{
    sink = fn;
    sink_data = data;
}

static void log_to_sink(enum log_level level, const char *component, const char *fmt, va_list ap)
{
    char text[LINE_MAX_BYTES];

    if (vsnprintf(text, sizeof(text), fmt, ap) >= 0) /* cut, as a line is */
        sink(sink_data, level, component, text);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

int log_level_parse(const char *text, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (strcasecmp(text, levels[i].name) == 0) {
            *ret = (enum log_level)i;
            return 0;
        }
    return RC_INVAL;
}

void log_line(enum log_level level, const char *component, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    va_list ap;
    if (sink) {
        va_start(ap, fmt);
        log_to_sink(level, component, fmt, ap);
        va_end(ap);
        return;
    }
    static atomic_int tty = -1;
    int colour = atomic_load_explicit(&tty, memory_order_relaxed);
    if (colour < 0) {
        colour = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
        atomic_store_explicit(&tty, colour, memory_order_relaxed);
    }
    char line[LINE_MAX_BYTES];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    int n = snprintf(line, sizeof(line), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s%s%s [%s] ",
                     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     ts.tv_nsec / 1000000, colour ? levels[level].colour : "", levels[level].label,
                     colour ? "\033[0m" : "", component);
    if (n < 0 || (size_t)n >= sizeof(line) - 1)
        return;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof(line) - 1 - (size_t)n, fmt, ap);
    va_end(ap);
    if (m < 0)
        return;
    size_t len = (size_t)n + (size_t)m;
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2; /* a log line may be cut; nothing else may */
    for (size_t i = (size_t)n; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?'; /* outside text must not forge lines or drive the terminal */
    line[len++] = '\n';
    (void)!write(STDERR_FILENO, line, len); /* nowhere to report that logging failed */
}
