/* Sees every file operation of one process under some paths, and kills it at a chosen one. Preloaded by `forkserver`.
 *
 * Asleep until `killing_arm`. From then on each operation on a path under a prefix is done and written to a log, in the
 * order in which it took effect, under one lock: `trace` reads it. At the chosen operation (name, path, how often so far)
 * the process gets SIGKILL: before it, or, when it is a write, after the first bytes of it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PREFIXES 8
static char prefixes[PREFIXES][PATH_MAX];
static int prefix_count, log_fd = -1;
static char kill_op[32], kill_path[PATH_MAX];
static long kill_nth, kill_keep, seen;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...)                                  \
    static type (*real)(__VA_ARGS__);                          \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static void raw_write(const void *data, size_t size) {
    const char *at = data;
    while (size) {
        long n = syscall(SYS_write, log_fd, at, size);
        if (n <= 0) abort();
        at += n, size -= n;
    }
}

/* One record: a header line, then `size` bytes. */
static void record(const char *op, long offset, size_t size, const char *path, const char *other, const void *data) {
    char head[2 * PATH_MAX + 96];
    int n = snprintf(head, sizeof head, "%s\t%ld\t%zu\t%s\t%s\n", op, offset, size, path, other);
    raw_write(head, n);
    if (size) raw_write(data, size);
}

static void die(const char *op, const char *path) {
    record("killed", 0, 0, path, op, NULL);
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether this is the chosen operation; the lock is held. */
static int chosen(const char *op, const char *path) {
    return kill_nth && !strcmp(op, kill_op) && !strcmp(path, kill_path) && ++seen == kill_nth;
}

static int watched(const char *path) {
    for (int i = 0; i < prefix_count; i++) {
        size_t n = strlen(prefixes[i]);
        if (!strncmp(path, prefixes[i], n) && (path[n] == 0 || path[n] == '/')) return 1;
    }
    return 0;
}

/* The absolute path of `path` at `at`, in `out`; 0 when it is none of ours. */
static int ours(int at, const char *path, char *out) {
    if (log_fd < 0 || !path) return 0;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX) return 0;
        strcpy(out, path);
    } else {
        char link[64], base[PATH_MAX];
        if (at == AT_FDCWD) strcpy(link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t n = readlink(link, base, sizeof base - 1);
        if (n < 0) return 0;
        base[n] = 0;
        if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    }
    return watched(out);
}

static int ours_fd(int fd, char *out) {
    if (log_fd < 0) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    if (n < 0) return 0;
    out[n] = 0;
    return watched(out);
}

/* Called once, through ctypes, with the operation to die at; nth 0 only traces. keep < 0 dies before a write. */
void killing_arm(const char *paths, const char *log, const char *op, const char *path, long nth, long keep) {
    char *copy = strdup(paths), *rest = copy, *one;
    while ((one = strsep(&rest, ":")) && prefix_count < PREFIXES) strcpy(prefixes[prefix_count++], one);
    free(copy);
    strcpy(kill_op, op);
    strcpy(kill_path, path);
    kill_nth = nth, kill_keep = keep;
    log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0) abort();
}

static int do_open(int at, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    if ((flags & O_PATH) || !ours(at, path, whole)) return syscall(SYS_openat, at, path, flags | O_LARGEFILE, mode);
    pthread_mutex_lock(&turn);
    if (chosen("open", whole)) die("open", whole);
    int there = !syscall(SYS_faccessat, at, path, F_OK);
    int fd = syscall(SYS_openat, at, path, flags | O_LARGEFILE, mode);
    int failed = errno;
    const char *how = fd < 0 ? "failed" : !there ? "create" : (flags & O_TRUNC) ? "truncate" : "read";
    record("open", 0, 0, whole, how, NULL);
    pthread_mutex_unlock(&turn);
    errno = failed;
    return fd;
}

#define MODE(flags)                                            \
    mode_t mode = 0;                                           \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                   \
        va_list more;                                          \
        va_start(more, flags);                                 \
        mode = va_arg(more, mode_t);                           \
        va_end(more);                                          \
    }
int open(const char *path, int flags, ...) { MODE(flags) return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return do_open(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return do_open(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return do_open(at, path, flags, mode); }
int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __openat_2(int at, const char *path, int flags) { return do_open(at, path, flags, 0); }
int __openat64_2(int at, const char *path, int flags) { return do_open(at, path, flags, 0); }
int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

static FILE *do_fopen(const char *path, const char *mode, FILE *(*real)(const char *, const char *)) {
    char whole[PATH_MAX];
    if (!ours(AT_FDCWD, path, whole)) return real(path, mode);
    if (mode[0] != 'r' || strchr(mode, '+')) abort(); /* buffered writing isn't modelled, nor done */
    pthread_mutex_lock(&turn);
    if (chosen("open", whole)) die("open", whole);
    record("open", 0, 0, whole, "read", NULL);
    pthread_mutex_unlock(&turn);
    return real(path, mode);
}
FILE *fopen(const char *path, const char *mode) {
    REAL(FILE *, "fopen", const char *, const char *);
    return do_fopen(path, mode, real);
}
FILE *fopen64(const char *path, const char *mode) {
    REAL(FILE *, "fopen64", const char *, const char *);
    return do_fopen(path, mode, real);
}

/* offset < 0: where the file stands. */
static ssize_t do_write(int fd, const void *data, size_t size, off64_t offset) {
    char whole[PATH_MAX];
    int mine = ours_fd(fd, whole), dies = 0;
    if (mine) {
        pthread_mutex_lock(&turn);
        dies = chosen("write", whole);
        if (dies && kill_keep < 0) die("write", whole);
        if (dies && (size_t)kill_keep < size) size = kill_keep;
    }
    ssize_t n = offset < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, offset);
    int failed = errno;
    if (mine) {
        if (n > 0) {
            off64_t at = offset < 0 ? lseek64(fd, 0, SEEK_CUR) - n : offset;
            record("write", at, n, whole, "", data);
        }
        if (dies) die("write", whole);
        pthread_mutex_unlock(&turn);
    }
    errno = failed;
    return n;
}
ssize_t write(int fd, const void *data, size_t size) { return do_write(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return do_write(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return do_write(fd, data, size, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    char whole[PATH_MAX];
    if (ours_fd(fd, whole)) abort(); /* not modelled, nor done */
    return syscall(SYS_writev, fd, parts, count);
}

/* What changes a file by descriptor, or names: chosen or not, done, logged when it succeeded. */
#define ACT(op, whole, other, offset, call)                    \
    pthread_mutex_lock(&turn);                                 \
    if (chosen(op, whole)) die(op, whole);                     \
    long result = (call);                                      \
    int failed = errno;                                        \
    if (!result) record(op, offset, 0, whole, other, NULL);    \
    pthread_mutex_unlock(&turn);                               \
    errno = failed;                                            \
    return result

int fsync(int fd) {
    char whole[PATH_MAX];
    if (!ours_fd(fd, whole)) return syscall(SYS_fsync, fd);
    ACT("fsync", whole, "", 0, 0L); /* the model knows what is durable; waiting for this disk would add only time */
}
int fdatasync(int fd) { return fsync(fd); }
int ftruncate64(int fd, off64_t size) {
    char whole[PATH_MAX];
    if (!ours_fd(fd, whole)) return syscall(SYS_ftruncate, fd, size);
    ACT("truncate", whole, "", size, syscall(SYS_ftruncate, fd, size));
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int truncate64(const char *path, off64_t size) {
    char whole[PATH_MAX];
    if (!ours(AT_FDCWD, path, whole)) return syscall(SYS_truncate, path, size);
    ACT("truncate", whole, "", size, syscall(SYS_truncate, path, size));
}
int truncate(const char *path, off_t size) { return truncate64(path, size); }
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char source[PATH_MAX], target[PATH_MAX];
    int a = ours(from_at, from, source), b = ours(to_at, to, target);
    if (!a && !b) return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    ACT("rename", target, source, 0, syscall(SYS_renameat2, from_at, from, to_at, to, flags));
}
int renameat(int from_at, const char *from, int to_at, const char *to) { return renameat2(from_at, from, to_at, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
int unlinkat(int at, const char *path, int flags) {
    char whole[PATH_MAX];
    if (!ours(at, path, whole)) return syscall(SYS_unlinkat, at, path, flags);
    ACT("remove", whole, "", 0, syscall(SYS_unlinkat, at, path, flags));
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int at, const char *path, mode_t mode) {
    char whole[PATH_MAX];
    if (!ours(at, path, whole)) return syscall(SYS_mkdirat, at, path, mode);
    ACT("mkdir", whole, "", 0, syscall(SYS_mkdirat, at, path, mode));
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
