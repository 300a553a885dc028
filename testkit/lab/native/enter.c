/*
 * enter: starts a program on a node. It joins the node's control group and network
 * namespace, opens TUNs for those that carry packets themselves (as file
 * descriptors 3, 4, … in the order given), and becomes the program. The program
 * is killed when the process that started it dies.
 *
 *   enter NETNS-FILE CGROUP-PROCS-FILE [tun=NETNS-FILE:NAME]... [resolv=FILE] -- PROGRAM [ARGUMENT]...
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

static void fail(const char *what) {
  fprintf(stderr, "enter: %s: %s\n", what, strerror(errno));
  exit(126);
}

static void join_namespace(const char *file) {
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) fail(file);
  close(fd);
}

static void join_group(const char *file) {
  int fd = open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "0", 1) != 1) fail(file);
  close(fd);
}

/* `spec` is NETNS-FILE:NAME. */
static void open_tun(char *spec, int as) {
  char *name = strrchr(spec, ':');
  if (!name) fail(spec);
  *name++ = 0;
  join_namespace(spec);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0 || ioctl(fd, TUNSETPERSIST, 1) != 0) fail(name);
  if (fd != as) {
    if (dup2(fd, as) != as) fail(name);
    close(fd);
  }
}

/* /sys shows the interfaces of the namespace it was mounted in; the resolver's file is the node's own. */
static void mount_own(const char *resolv) {
  if (unshare(CLONE_NEWNS) != 0 || mount("", "/", "none", MS_SLAVE | MS_REC, NULL) != 0) fail("mount namespace");
  umount2("/sys", MNT_DETACH);
  if (mount("node", "/sys", "sysfs", MS_RDONLY, NULL) != 0) fail("/sys");
  if (resolv && mount(resolv, "/etc/resolv.conf", "none", MS_BIND, NULL) != 0) fail("/etc/resolv.conf");
}

int main(int count, char **args) {
  const char *resolv = NULL;
  int at = 3, tuns = 0;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (; at < count && strcmp(args[at], "--") != 0; at++) {
    if (strncmp(args[at], "tun=", 4) == 0) open_tun(args[at] + 4, 3 + tuns++);
    else if (strncmp(args[at], "resolv=", 7) == 0) resolv = args[at] + 7;
    else break;
  }
  if (at + 1 >= count || strcmp(args[at], "--") != 0) {
    fprintf(stderr, "enter: bad arguments\n");
    return 126;
  }
  join_group(args[2]);
  join_namespace(args[1]);
  mount_own(resolv);
  execvp(args[at + 1], args + at + 1);
  fail(args[at + 1]);
}
