/*
 * Notes what a program asks of the disk, in the order in which it asks, for tests/it/reliability.
 *
 * Loaded with LD_PRELOAD. Of the files right in $DISK_FOLDER every write, truncation and
 * sync, every name that is made or removed, and every sync of the folder itself is appended to
 * $DISK_TRACE, one record each. The test plays the record back to any moment and decides
 * what a power cut would have left. Syncs are noted and not carried out: nothing here is to
 * survive a real power cut, and no sync may end before its record is there.
 *
 * What a program asks the kernel without the C library is not seen; the names that it made so are
 * seen at the next sync of the folder, which lists them. The shared memory beside the database
 * (-shm) is made anew after every start, and nothing of it is noted.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 65536
#define LISTING (64 * 1024)

/* As tests/it/reliability/trace.rs reads it; in the machine's own byte order. */
struct record {
  uint32_t what;
  uint32_t thread;
  uint64_t file;
  uint64_t offset;
  uint64_t length;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_length;
static int trace = -1;
/* The inode that a descriptor was opened for; it is looked at again before it is believed. */
static uint64_t watched[DESCRIPTORS];
static uint64_t watched_folder[DESCRIPTORS];

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("DISK_TRACE");
  folder = getenv("DISK_FOLDER");
  if (path == NULL || folder == NULL) {
    return;
  }
  folder_length = strlen(folder);
  trace = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
}

/* One write to a file that is only appended to: a record is there whole or not at all. */
static void note(char what, uint64_t file, uint64_t offset, const void *bytes, size_t length) {
  struct record head = {(uint32_t)what, (uint32_t)syscall(SYS_gettid), file, offset, length};
  struct iovec parts[2] = {{&head, sizeof head}, {(void *)bytes, length}};
  ssize_t whole = (ssize_t)(sizeof head + length);
  if (syscall(SYS_writev, trace, parts, length == 0 ? 1 : 2) != whole) {
    static const char complaint[] = "power_loss.c: the trace could not be written\n";
    syscall(SYS_write, 2, complaint, sizeof complaint - 1);
    _exit(99);
  }
}

static int ends_with(const char *name, const char *end) {
  size_t length = strlen(name), tail = strlen(end);
  return length >= tail && strcmp(name + length - tail, end) == 0;
}

/* The name in the folder that a path means; NULL for every other path, and for none. */
static const char *name_of(const char *path) {
  if (trace < 0 || path == NULL || strncmp(path, folder, folder_length) != 0 || path[folder_length] != '/') {
    return NULL;
  }
  const char *name = path + folder_length + 1;
  int other = strchr(name, '/') != NULL || ends_with(name, "-shm") || ends_with(name, ".lock");
  return other || *name == 0 ? NULL : name;
}

static uint64_t inode(int fd) {
  struct stat found;
  return fstat(fd, &found) == 0 ? (uint64_t)found.st_ino : 0;
}

static uint64_t file_of(int fd) {
  if (trace < 0 || fd < 0 || fd >= DESCRIPTORS || watched[fd] == 0) {
    return 0;
  }
  return inode(fd) == watched[fd] ? watched[fd] : 0;
}

static int opened(const char *path, int flags, mode_t mode) {
  const char *name = name_of(path);
  if (name == NULL) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (trace >= 0 && fd >= 0 && fd < DESCRIPTORS) {
      size_t length = strlen(path);
      int same = strncmp(path, folder, folder_length) == 0 &&
                 (length == folder_length ||
                  (length == folder_length + 1 && path[folder_length] == '/'));
      watched[fd] = 0;
      watched_folder[fd] = same ? inode(fd) : 0;
    }
    return fd;
  }
  pthread_mutex_lock(&lock);
  int is_new = (flags & O_CREAT) != 0 && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  int error = errno;
  if (fd >= 0 && fd < DESCRIPTORS) {
    watched[fd] = inode(fd);
    watched_folder[fd] = 0;
    if (is_new) {
      note('C', watched[fd], 0, name, strlen(name));
    } else if ((flags & O_TRUNC) != 0) {
      note('T', watched[fd], 0, NULL, 0);
    }
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

#define OPEN(path, flags)                                                                        \
  mode_t mode = 0;                                                                               \
  if (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE) {                          \
    va_list rest;                                                                                \
    va_start(rest, flags);                                                                       \
    mode = va_arg(rest, mode_t);                                                                 \
    va_end(rest);                                                                                \
  }                                                                                              \
  return opened(path, flags, mode)

int open(const char *path, int flags, ...) { OPEN(path, flags); }
int open64(const char *path, int flags, ...) { OPEN(path, flags); }

int openat64(int at, const char *path, int flags, ...) {
  if (at != AT_FDCWD && *path != '/') {
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
      va_list rest;
      va_start(rest, flags);
      mode = va_arg(rest, mode_t);
      va_end(rest);
    }
    return (int)syscall(SYS_openat, at, path, flags, mode);
  }
  OPEN(path, flags);
}

/* Noted before it is done: a record that has no effect yet costs a test nothing. */
static ssize_t written(int fd, const void *bytes, size_t length, off_t at, int is_positioned) {
  uint64_t file = file_of(fd);
  if (file == 0) {
    return is_positioned ? syscall(SYS_pwrite64, fd, bytes, length, at)
                         : syscall(SYS_write, fd, bytes, length);
  }
  pthread_mutex_lock(&lock);
  off_t offset = at;
  if (!is_positioned) {
    int appends = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
    offset = lseek(fd, 0, appends ? SEEK_END : SEEK_CUR);
  }
  note('W', file, (uint64_t)offset, bytes, length);
  ssize_t result = is_positioned ? syscall(SYS_pwrite64, fd, bytes, length, at)
                                 : syscall(SYS_write, fd, bytes, length);
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

ssize_t write(int fd, const void *bytes, size_t length) {
  return written(fd, bytes, length, 0, 0);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
  return written(fd, bytes, length, at, 1);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
  return written(fd, bytes, length, at, 1);
}

int ftruncate64(int fd, off64_t length) {
  uint64_t file = file_of(fd);
  if (file == 0) {
    return (int)syscall(SYS_ftruncate, fd, length);
  }
  pthread_mutex_lock(&lock);
  note('T', file, (uint64_t)length, NULL, 0);
  int result = (int)syscall(SYS_ftruncate, fd, length);
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* Every name in the folder with its inode: what a sync of the folder keeps. */
static void note_folder(int fd) {
  static char listing[LISTING];
  size_t used = 0;
  DIR *names = opendir(folder);
  struct dirent *entry;
  while (names != NULL && (entry = readdir(names)) != NULL) {
    int more = snprintf(listing + used, LISTING - used, "%llu %s\n",
                        (unsigned long long)entry->d_ino, entry->d_name);
    if (more < 0 || (size_t)more >= LISTING - used) {
      break;
    }
    used += (size_t)more;
  }
  if (names != NULL) {
    closedir(names);
  }
  note('D', watched_folder[fd], 0, listing, used);
}

static int synced(int fd) {
  uint64_t file = file_of(fd);
  int is_folder = trace >= 0 && fd >= 0 && fd < DESCRIPTORS && watched_folder[fd] != 0 &&
                  inode(fd) == watched_folder[fd];
  if (file == 0 && !is_folder) {
    return (int)syscall(SYS_fdatasync, fd);
  }
  pthread_mutex_lock(&lock);
  if (is_folder) {
    note_folder(fd);
  } else {
    note('S', file, 0, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  return 0;
}

int fsync(int fd) { return synced(fd); }
int fdatasync(int fd) { return synced(fd); }

/* A name that is made or removed together with what the kernel is asked for. */
#define NAMED(call, path, removes, adds, of)                                                     \
  const char *gone = name_of(path);                                                              \
  const char *made = name_of(adds);                                                              \
  if (gone == NULL && made == NULL) {                                                            \
    return (int)(call);                                                                          \
  }                                                                                              \
  pthread_mutex_lock(&lock);                                                                     \
  struct stat found = {0};                                                                       \
  stat(of, &found);                                                                              \
  int result = (int)(call);                                                                      \
  int error = errno;                                                                             \
  if (result == 0 && made != NULL) {                                                             \
    note('N', (uint64_t)found.st_ino, 0, made, strlen(made));                                    \
  }                                                                                              \
  if (result == 0 && gone != NULL && (removes)) {                                                \
    note('U', (uint64_t)found.st_ino, 0, gone, strlen(gone));                                    \
  }                                                                                              \
  pthread_mutex_unlock(&lock);                                                                   \
  errno = error;                                                                                 \
  return result

int unlink(const char *path) {
  NAMED(syscall(SYS_unlinkat, AT_FDCWD, path, 0), path, 1, NULL, path);
}

int rename(const char *from, const char *to) {
  NAMED(syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to), from, 1, to, from);
}

int linkat(int at, const char *from, int also_at, const char *to, int flags) {
  NAMED(syscall(SYS_linkat, at, from, also_at, to, flags), from, 0, to, from);
}
