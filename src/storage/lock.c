/* lock.c - one server per data directory.
 *
 * A file `quoll.lock` in dataDir (and in dataLogDir), locked as long as the process lives; the kernel lets go of it however the
 * process ends. The one place that does not go through the vfs: what is locked is a machine's directory, not a disk's content. */
#include "storage_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static int lock_dir(const struct storage_config *cfg, const char *dir, struct storage_error *err)
{
    int rc = cfg->vfs->mkdir(cfg->vfs->ctx, dir);
    if (rc < 0)
        return storage_fail_io(err, rc, "make", dir);
    char *path = x_asprintf("%s/quoll.lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        rc = storage_fail(err, errno == EACCES || errno == EROFS ? RC_DENIED : RC_IO, "cannot open %s: %s", path,
                          strerror(errno));
    else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        rc = errno == EWOULDBLOCK ? storage_fail(err, RC_BUSY, "%s: another server uses this directory", path)
                                  : storage_fail(err, RC_IO, "cannot lock %s: %s", path, strerror(errno));
    if (rc < 0 && fd >= 0)
        close(fd); /* else it stays open: that is the lock */
    free(path);
    return rc;
}

int storage_lock(const struct storage_config *cfg, struct storage_error *err)
{
    int rc = lock_dir(cfg, cfg->data_dir, err);
    if (rc == 0 && storage_dirs_differ(cfg))
        rc = lock_dir(cfg, cfg->log_dir, err);
    return rc;
}
