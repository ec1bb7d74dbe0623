/* A disk of a chosen size under one folder, for a program that is started with LD_PRELOAD.
 *
 * SMALL_DISK names the folder. A file `disk.limit` in it says how many bytes its files may have together;
 * a write past that has room for nothing (ENOSPC). A file `disk.read-only` in it makes every write there
 * fail (EROFS). Without both it is a disk like any other. Whatever frees room, as cutting a file off,
 * frees it here as well. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *folder(void) { return getenv("SMALL_DISK"); }

/* Whether the file is one of the disk: not the log of the test, not what controls the disk. */
static int is_ours(int fd) {
    char link[64], path[4096];
    const char *root = folder();
    if (!root) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, root, strlen(root)) == 0 && strstr(path, "/callgate.db");
}

static int exists(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder(), name);
    return access(path, F_OK) == 0;
}

static long long limit(void) {
    char path[4096];
    long long bytes = -1;
    snprintf(path, sizeof path, "%s/disk.limit", folder());
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    if (fscanf(file, "%lld", &bytes) != 1) bytes = -1;
    fclose(file);
    return bytes;
}

static long long used(void) {
    long long bytes = 0;
    DIR *all = opendir(folder());
    struct dirent *one;
    struct stat about;
    while (all && (one = readdir(all)))
        if (strncmp(one->d_name, "callgate.db", 11) == 0 && fstatat(dirfd(all), one->d_name, &about, 0) == 0)
            bytes += about.st_size;
    if (all) closedir(all);
    return bytes;
}

/* Sets errno and gives 0 when `fd` may not be written up to `end`. */
static int may_write(int fd, long long end) {
    struct stat about;
    if (!is_ours(fd)) return 1;
    if (exists("disk.read-only")) {
        errno = EROFS;
        return 0;
    }
    long long most = limit();
    if (most >= 0 && fstat(fd, &about) == 0 && end > about.st_size && used() + end - about.st_size > most) {
        errno = ENOSPC;
        return 0;
    }
    return 1;
}

#define REAL(name, ...) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    return may_write(fd, at + (long long)count) ? real(fd, bytes, count, at) : -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    long long at = is_ours(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    return may_write(fd, at + (long long)count) ? real(fd, bytes, count) : -1;
}

int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64);
    return may_write(fd, length) ? real(fd, length) : -1;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* What is free, as whoever asks before writing is told. */
int statvfs64(const char *path, struct statvfs64 *about) {
    REAL(statvfs64);
    const char *root = folder();
    if (real(path, about) != 0) return -1;
    long long most = limit(), left = most - used();
    if (root && most >= 0 && strncmp(path, root, strlen(root)) == 0)
        about->f_bavail = about->f_bfree = left > 0 ? left / about->f_frsize : 0;
    return 0;
}

int statvfs(const char *path, struct statvfs *about) {
    return statvfs64(path, (struct statvfs64 *)about);
}

/* A disk that is read-only opens nothing for writing. */
static int may_open(const char *path, int flags) {
    const char *root = folder();
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if (root && writes && strncmp(path, root, strlen(root)) == 0 && strstr(path, "/callgate.db")
        && exists("disk.read-only")) {
        errno = EROFS;
        return 0;
    }
    return 1;
}

#define OPEN(name)                                                                      \
    int name(const char *path, int flags, ...) {                                        \
        static int (*real)(const char *, int, ...);                                     \
        va_list rest;                                                                   \
        va_start(rest, flags);                                                          \
        mode_t mode = va_arg(rest, mode_t);                                             \
        va_end(rest);                                                                   \
        if (!real) real = dlsym(RTLD_NEXT, #name);                                      \
        return may_open(path, flags) ? real(path, flags, mode) : -1;                    \
    }
OPEN(open)
OPEN(open64)
