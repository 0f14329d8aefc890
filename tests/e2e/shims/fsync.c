/* A disk that fails or hangs on demand, for LD_PRELOAD: fsync and fdatasync return EIO while the
 * file named by FSYNC_FAILS_WHILE exists, and do not return while that of FSYNC_HANGS_WHILE does.
 * Built and used by kit/shim.rs. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int exists(const char *variable) {
    const char *path = getenv(variable);
    return path != NULL && access(path, F_OK) == 0;
}

static int sync_with(long number, int fd) {
    while (exists("FSYNC_HANGS_WHILE")) usleep(10 * 1000);
    if (exists("FSYNC_FAILS_WHILE")) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(number, fd);
}

int fsync(int fd) { return sync_with(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_with(SYS_fdatasync, fd); }
