/* A hub that hangs on demand, for LD_PRELOAD: while the file named by HUB_HANGS_WHILE exists, the
 * thread called "hub" does not come back from asking what time it is, which it does for every input.
 * Built and used by kit/shim.rs. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int is_hub(void) {
    char name[16] = "";
    return prctl(PR_GET_NAME, name) == 0 && strcmp(name, "hub") == 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    const char *path = getenv("HUB_HANGS_WHILE");
    if (path != NULL && is_hub())
        while (access(path, F_OK) == 0) usleep(10 * 1000);
    return (int)syscall(SYS_clock_gettime, clock, now);
}
