/* log.h - one line per event on stderr: time, level, component, text.
 *
 * Colours only on a terminal. Thread-safe: a line is one write(2). No secret (password, token, znode data)
 * ever goes into a log line. The level is process-wide. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/core.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* "error", "warn", "info" or "debug" (any case); RC_INVAL otherwise. */
int log_level_parse(const char *text, enum log_level *ret);
/* component: a short literal such as "server", "dns". No trailing newline in fmt. */
void log_line(enum log_level level, const char *component, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Every line that the level lets through goes to fn instead of stderr; NULL: to stderr again. Before other threads run. */
void log_set_sink(void (*fn)(void *data, enum log_level level, const char *component, const char *text), void *data);

#define log_error(component, ...) log_line(LOG_ERROR, component, __VA_ARGS__)
#define log_warn(component, ...) log_line(LOG_WARN, component, __VA_ARGS__)
#define log_info(component, ...) log_line(LOG_INFO, component, __VA_ARGS__)
#define log_debug(component, ...)                                                                            \
    do {                                                                                                     \
        if (log_enabled(LOG_DEBUG))                                                                          \
            log_line(LOG_DEBUG, component, __VA_ARGS__);                                                     \
    } while (0)

#endif
