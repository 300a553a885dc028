/*
 * netd: the cables and switches of one laboratory. Each interface of the topology
 * is a TAP that lives in its node's namespace; this process holds the other end,
 * switches frames within a network by their MAC address, and does to each
 * direction of each attachment what its link says: loss, corruption, duplication,
 * rate and queue, delay, in this order.
 *
 * A frame's time is a computed one: it leaves a link when the link's arithmetic
 * says so, and enters the next link at that time, however late this process woke
 * up. So waking late costs latency once and never rate. ARP and neighbour
 * discovery pass unimpaired and through partitions: both are described for IP packets,
 * and who waits a second for its next question would not measure a link.
 *
 * Commands come one a line on stdin and are answered one a line on stdout, `ok …`
 * or `error …`. At the end of stdin the process ends, and its TAPs with it.
 *
 *   seed N
 *   sysctl NETNS-FILE net/… VALUE
 *   interface NETNS-FILE NAME NETWORK NODE MTU      -> ok INDEX MAC
 *   link INDEX up|down [KEY=VALUE]...               (what is left out does nothing)
 *     above=BYTES loss=SHARE ge=GOODTOBAD,BADTOGOOD,LOSSINGOOD,LOSSINBAD corrupt=SHARE
 *     duplicate=SHARE rate=BITS queue=BYTES bucket=BITS,BURSTBYTES delay=NS jitter=NS reorder=SHARE,NS
 *   partition NODE...                               (these from all others)
 *   heal
 *   stats INDEX
 *   quit
 *
 * netd [CGROUP-PROCS-FILE [CGROUP-PROCS-FILE-OF-HEIR PROGRAM [ARGUMENT]...]]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <math.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  MAX_INTERFACES = 256,
  MAX_NODES = 256,
  MAX_FRAME = 65550,
  MAX_LINE = 2048,
  READS_A_TURN = 64,
  QUEUE_FRAMES = 8192,
  ETHERNET = 14,
};
/* Frames in flight; what comes on top is dropped and counted as `overflow`. */
static const size_t MAX_HELD_BYTES = 512u << 20;

struct link_settings {
  uint32_t above;
  double loss, good_to_bad, bad_to_good, loss_in_good, loss_in_bad;
  bool has_ge;
  double corrupt, duplicate;
  double rate; /* bits a second, 0: none */
  double queue;
  double burst; /* bytes; with it `rate` is a token bucket's */
  int64_t delay, jitter;
  double reorder;
  int64_t hold;
};

struct link_counts {
  uint64_t packets, lost, above, queue, corrupted, duplicated, reordered;
};

struct link {
  struct link_settings is;
  struct link_counts counts;
  /* Of loss, corruption and duplication; drawn from once a packet, so that time has no say in it. */
  uint64_t fate;
  /* Of jitter and reordering, which packets reach that the queue had room for. */
  uint64_t timing;
  bool bad;
  int64_t busy_until, last_release;
  double tokens;
  int64_t tokens_at;
};

struct interface {
  int fd;
  unsigned network, node;
  uint64_t read, written;
  struct link up, down;
};

struct frame {
  int64_t at;
  uint64_t order;
  uint32_t length;
  uint16_t interface;
  bool is_down; /* waits in the `down` link of its interface, else in `up` */
  uint8_t bytes[];
};

static struct interface interfaces[MAX_INTERFACES];
static unsigned interface_count;
static bool is_apart[MAX_NODES];
static bool is_partitioned;
static uint64_t seed, order_count, overflow_count;
static int epoll_fd, own_netns;

static struct frame **heap;
static size_t heap_size, heap_room, held_bytes;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* splitmix64; a share in [0, 1). */
static uint64_t draw(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

static double fraction(uint64_t *state) { return (double)(draw(state) >> 11) * 0x1p-53; }

static bool chance(uint64_t *state, double share) { return share > 0 && fraction(state) < share; }

/* ---- frames that wait, earliest first ---- */

static bool is_before(const struct frame *a, const struct frame *b) {
  return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct frame *frame) {
  if (heap_size == heap_room) {
    heap_room = heap_room ? heap_room * 2 : 1024;
    heap = realloc(heap, heap_room * sizeof *heap);
    if (!heap) abort();
  }
  size_t at = heap_size++;
  while (at > 0 && is_before(frame, heap[(at - 1) / 2])) {
    heap[at] = heap[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  heap[at] = frame;
  held_bytes += frame->length;
}

static struct frame *heap_pop(void) {
  struct frame *top = heap[0], *last = heap[--heap_size];
  size_t at = 0;
  for (;;) {
    size_t child = at * 2 + 1;
    if (child >= heap_size) break;
    if (child + 1 < heap_size && is_before(heap[child + 1], heap[child])) child++;
    if (!is_before(heap[child], last)) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = last;
  held_bytes -= top->length;
  return top;
}

/* ---- what a link does to a packet ---- */

static unsigned ether_type(const uint8_t *bytes) { return bytes[12] << 8 | bytes[13]; }

/* An IP packet that is not neighbour discovery (RFC 4861: ICMPv6 types 133 to 137). */
static bool is_impaired(const uint8_t *bytes, uint32_t length) {
  if (length <= ETHERNET + 20) return false;
  if (ether_type(bytes) == 0x0800) return true;
  if (ether_type(bytes) != 0x86dd || length <= ETHERNET + 40) return false;
  uint8_t type = bytes[ETHERNET + 40];
  return !(bytes[ETHERNET + 6] == 58 && type >= 133 && type <= 137);
}

static bool is_lost(struct link *link) {
  const struct link_settings *is = &link->is;
  if (!is->has_ge) return chance(&link->fate, is->loss);
  if (chance(&link->fate, link->bad ? is->bad_to_good : is->good_to_bad)) link->bad = !link->bad;
  return chance(&link->fate, link->bad ? is->loss_in_bad : is->loss_in_good);
}

/* Turns over one bit after the IP header. */
static void corrupt(struct link *link, uint8_t *bytes, uint32_t length) {
  uint32_t header = ETHERNET + (ether_type(bytes) == 0x0800 ? (bytes[ETHERNET] & 15) * 4 : 40);
  if (header >= length) return;
  uint64_t bit = draw(&link->fate) % ((length - header) * 8ull);
  bytes[header + bit / 8] ^= 1 << (bit % 8);
  link->counts.corrupted++;
}

/* When a packet that arrives at `at` has been put on the wire; -1 when the queue has no room for it. */
static int64_t departure(struct link *link, int64_t at, uint32_t length) {
  const struct link_settings *is = &link->is;
  if (is->rate <= 0) return at;
  double ns_a_byte = 8e9 / is->rate;
  int64_t start = link->busy_until > at ? link->busy_until : at;
  double waiting = (double)(start - at) / ns_a_byte;
  if (start > at && waiting + length > is->queue) return -1;
  if (is->burst > 0) {
    double tokens = link->tokens + (double)(start - link->tokens_at) / ns_a_byte;
    if (tokens > is->burst) tokens = is->burst;
    if (tokens < length) {
      start += (int64_t)((length - tokens) * ns_a_byte);
      tokens = length;
    }
    link->tokens = tokens - length;
    link->tokens_at = start;
    link->busy_until = start;
    return start;
  }
  link->busy_until = start + (int64_t)(length * ns_a_byte);
  return link->busy_until;
}

static void leave(unsigned index, bool is_down, int64_t at, uint8_t *bytes, uint32_t length);

static void hold(unsigned index, bool is_down, int64_t at, const uint8_t *bytes, uint32_t length) {
  struct frame *frame = held_bytes + length > MAX_HELD_BYTES ? NULL : malloc(sizeof *frame + length);
  if (!frame) {
    overflow_count++;
    return;
  }
  frame->at = at;
  frame->order = order_count++;
  frame->length = length;
  frame->interface = index;
  frame->is_down = is_down;
  memcpy(frame->bytes, bytes, length);
  heap_push(frame);
}

static void send_copy(unsigned index, bool is_down, int64_t at, uint8_t *bytes, uint32_t length) {
  struct link *link = is_down ? &interfaces[index].down : &interfaces[index].up;
  const struct link_settings *is = &link->is;
  int64_t departs = departure(link, at, length);
  if (departs < 0) {
    link->counts.queue++;
    return;
  }
  int64_t release = departs + is->delay;
  if (is->jitter > 0) {
    release += (int64_t)((fraction(&link->timing) * 2 - 1) * is->jitter);
    if (release < departs) release = departs;
  }
  if (release < link->last_release) release = link->last_release;
  if (chance(&link->timing, is->reorder)) {
    release += is->hold;
    link->counts.reordered++;
  } else {
    link->last_release = release;
  }
  /* Nothing to wait for, and nothing waits that could be overtaken. */
  if (release <= at && (heap_size == 0 || heap[0]->at > at)) leave(index, is_down, at, bytes, length);
  else hold(index, is_down, release, bytes, length);
}

/* A frame comes to a link at `at`. */
static void enter(unsigned index, bool is_down, int64_t at, uint8_t *bytes, uint32_t length) {
  struct link *link = is_down ? &interfaces[index].down : &interfaces[index].up;
  if (!is_impaired(bytes, length)) {
    leave(index, is_down, at, bytes, length);
    return;
  }
  link->counts.packets++;
  if (link->is.above > 0 && length - ETHERNET > link->is.above) {
    link->counts.above++;
    return;
  }
  if (is_lost(link)) {
    link->counts.lost++;
    return;
  }
  bool is_twice = false;
  if (chance(&link->fate, link->is.corrupt)) corrupt(link, bytes, length);
  if (chance(&link->fate, link->is.duplicate)) is_twice = true;
  send_copy(index, is_down, at, bytes, length);
  if (is_twice) {
    link->counts.duplicated++;
    send_copy(index, is_down, at, bytes, length);
  }
}

/* ---- the switch ---- */

static bool may_pass(const struct interface *from, const struct interface *to, const uint8_t *bytes, uint32_t length) {
  return !is_partitioned || is_apart[from->node] == is_apart[to->node] || !is_impaired(bytes, length);
}

/* Interfaces have the addresses 02:c1:a0:00:HI:LO, so nothing must be learnt. */
static int owner_of(const uint8_t *mac) {
  static const uint8_t prefix[4] = {0x02, 0xc1, 0xa0, 0x00};
  if (memcmp(mac, prefix, 4) != 0) return -1;
  unsigned index = mac[4] << 8 | mac[5];
  return index < interface_count ? (int)index : -1;
}

/* A frame leaves a link: from `up` into the network, from `down` into the node. */
static void leave(unsigned index, bool is_down, int64_t at, uint8_t *bytes, uint32_t length) {
  struct interface *here = &interfaces[index];
  if (is_down) {
    /* EIO: the interface is down. A cable has nobody to tell. */
    if (write(here->fd, bytes, length) > 0) here->written++;
    return;
  }
  if (!(bytes[0] & 1)) {
    int to = owner_of(bytes);
    if (to < 0 || (unsigned)to == index || interfaces[to].network != here->network) return;
    if (may_pass(here, &interfaces[to], bytes, length)) enter(to, true, at, bytes, length);
    return;
  }
  for (unsigned to = 0; to < interface_count; to++) {
    if (to == index || interfaces[to].network != here->network) continue;
    if (!may_pass(here, &interfaces[to], bytes, length)) continue;
    static uint8_t copy[MAX_FRAME];
    memcpy(copy, bytes, length); /* a link may corrupt it */
    enter(to, true, at, copy, length);
  }
}

static void read_frames(unsigned index) {
  static uint8_t bytes[MAX_FRAME];
  struct interface *here = &interfaces[index];
  for (int turn = 0; turn < READS_A_TURN; turn++) {
    ssize_t length = read(here->fd, bytes, sizeof bytes);
    if (length < ETHERNET) return;
    here->read++;
    enter(index, false, now_ns(), bytes, length);
  }
}

static void release_due(void) {
  while (heap_size > 0 && heap[0]->at <= now_ns()) {
    struct frame *frame = heap_pop();
    leave(frame->interface, frame->is_down, frame->at, frame->bytes, frame->length);
    free(frame);
  }
}

/* ---- commands ---- */

static void answer(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  putchar('\n');
  fflush(stdout);
}

static bool read_number(const char *text, double low, double high, double *out) {
  char *end;
  if (!text || (!(*text >= '0' && *text <= '9') && *text != '.')) return false;
  errno = 0;
  double value = strtod(text, &end);
  if (*end || errno || !isfinite(value) || value < low || value > high) return false;
  *out = value;
  return true;
}

static bool read_index(const char *text, unsigned limit, unsigned *out) {
  double value;
  if (!read_number(text, 0, (double)limit - 1, &value) || value != floor(value)) return false;
  *out = (unsigned)value;
  return true;
}

/* `count` numbers with commas between; changes `text`. */
static bool read_numbers(char *text, int count, const double *high, double *out) {
  char *rest = text, *part;
  for (int i = 0; i < count; i++) {
    part = strsep(&rest, ",");
    if (!part || !read_number(part, 0, high[i], &out[i])) return false;
  }
  return rest == NULL;
}

static bool read_setting(struct link_settings *is, const char *key, char *value) {
  static const double share[4] = {1, 1, 1, 1};
  static const double big[2] = {1e12, 1e12};
  static const double share_then_ns[2] = {1, 3.6e12};
  double n[4];
  if (strcmp(key, "ge") == 0) {
    if (!read_numbers(value, 4, share, n)) return false;
    is->has_ge = true;
    is->good_to_bad = n[0], is->bad_to_good = n[1], is->loss_in_good = n[2], is->loss_in_bad = n[3];
    return true;
  }
  if (strcmp(key, "bucket") == 0) {
    if (!read_numbers(value, 2, big, n) || n[0] < 1 || n[1] < 1) return false;
    is->rate = n[0], is->burst = n[1];
    return true;
  }
  if (strcmp(key, "reorder") == 0) {
    if (!read_numbers(value, 2, share_then_ns, n)) return false;
    is->reorder = n[0], is->hold = (int64_t)n[1];
    return true;
  }
  if (strcmp(key, "loss") == 0) return read_number(value, 0, 1, &is->loss);
  if (strcmp(key, "corrupt") == 0) return read_number(value, 0, 1, &is->corrupt);
  if (strcmp(key, "duplicate") == 0) return read_number(value, 0, 1, &is->duplicate);
  if (strcmp(key, "rate") == 0) return read_number(value, 1, 1e12, &is->rate);
  if (strcmp(key, "queue") == 0) return read_number(value, 0, 1e12, &is->queue);
  if (!read_number(value, 0, 3.6e12, &n[0])) return false;
  if (strcmp(key, "delay") == 0) is->delay = (int64_t)n[0];
  else if (strcmp(key, "jitter") == 0) is->jitter = (int64_t)n[0];
  else if (strcmp(key, "above") == 0 && n[0] >= 1 && n[0] < MAX_FRAME) is->above = (uint32_t)n[0];
  else return false;
  return true;
}

static void run_link(char **rest) {
  unsigned index;
  if (!read_index(strsep(rest, " "), interface_count, &index)) return answer("error link: no such interface");
  const char *direction = strsep(rest, " ");
  bool is_down = direction && strcmp(direction, "down") == 0;
  if (!direction || (!is_down && strcmp(direction, "up") != 0)) return answer("error link: neither up nor down");
  struct link_settings is = {.queue = 1e12};
  for (char *word; (word = strsep(rest, " "));) {
    char *key = strsep(&word, "=");
    if (!word || !read_setting(&is, key, word)) return answer("error link: bad setting %.40s", key);
  }
  struct link *link = is_down ? &interfaces[index].down : &interfaces[index].up;
  link->is = is;
  link->busy_until = 0;
  link->tokens = is.burst;
  link->tokens_at = now_ns();
  answer("ok");
}

static int enter_namespace(const char *file) {
  int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
  int status = fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
  if (fd >= 0) close(fd);
  return status;
}

static void return_home(void) {
  if (setns(own_netns, CLONE_NEWNET) != 0) abort();
}

static void run_sysctl(char **rest) {
  const char *file = strsep(rest, " "), *key = strsep(rest, " "), *value = *rest;
  char path[256];
  if (!key || !value || strncmp(key, "net/", 4) != 0 || strstr(key, "..")) return answer("error sysctl: bad arguments");
  snprintf(path, sizeof path, "/proc/sys/%s", key);
  if (enter_namespace(file) != 0) return answer("error sysctl: %s", strerror(errno));
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  bool is_done = fd >= 0 && write(fd, value, strlen(value)) >= 0;
  int failure = errno;
  if (fd >= 0) close(fd);
  return_home();
  if (is_done) answer("ok");
  else answer("error sysctl %s: %s", key, strerror(failure));
}

/* Opens a TAP in the current namespace; -1 with errno when it cannot. */
static int open_tap(const char *name, unsigned index, unsigned mtu) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  bool is_good = fd >= 0 && control >= 0 && ioctl(fd, TUNSETIFF, &request) == 0;
  /* The namespace takes all its interfaces away at once, in the background; closing each costs 30 ms. */
  is_good = is_good && ioctl(fd, TUNSETPERSIST, 1) == 0;
  if (is_good) {
    const uint8_t mac[6] = {0x02, 0xc1, 0xa0, 0x00, index >> 8, index & 255};
    request.ifr_hwaddr.sa_family = 1; /* ARPHRD_ETHER */
    memcpy(request.ifr_hwaddr.sa_data, mac, 6);
    is_good = ioctl(fd, SIOCSIFHWADDR, &request) == 0;
    request.ifr_mtu = mtu;
    is_good = is_good && ioctl(control, SIOCSIFMTU, &request) == 0;
    request.ifr_qlen = QUEUE_FRAMES;
    is_good = is_good && ioctl(control, SIOCSIFTXQLEN, &request) == 0;
  }
  int failure = errno;
  if (control >= 0) close(control);
  if (is_good) return fd;
  if (fd >= 0) close(fd);
  errno = failure;
  return -1;
}

static void run_interface(char **rest) {
  const char *file = strsep(rest, " "), *name = strsep(rest, " ");
  unsigned network, node, mtu;
  if (!name || strlen(name) == 0 || strlen(name) >= IFNAMSIZ || !read_index(strsep(rest, " "), 1 << 16, &network) ||
      !read_index(strsep(rest, " "), MAX_NODES, &node) || !read_index(strsep(rest, " "), 65522, &mtu) || mtu < 68)
    return answer("error interface: bad arguments");
  if (interface_count == MAX_INTERFACES) return answer("error interface: more than %d", MAX_INTERFACES);
  if (enter_namespace(file) != 0) return answer("error interface: %s", strerror(errno));
  unsigned index = interface_count;
  int fd = open_tap(name, index, mtu), failure = errno;
  return_home();
  if (fd < 0) return answer("error interface %s: %s", name, strerror(failure));
  struct interface *made = &interfaces[index];
  *made = (struct interface){.fd = fd, .network = network, .node = node};
  made->up.fate = seed ^ (index * 4ull + 1) << 32;
  made->up.timing = seed ^ (index * 4ull + 2) << 32;
  made->down.fate = seed ^ (index * 4ull + 3) << 32;
  made->down.timing = seed ^ (index * 4ull + 4) << 32;
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) abort();
  interface_count++;
  answer("ok %u 02:c1:a0:00:%02x:%02x", index, index >> 8, index & 255);
}

static void run_partition(char **rest) {
  bool apart[MAX_NODES] = {0};
  for (char *word; (word = strsep(rest, " "));) {
    unsigned node;
    if (!read_index(word, MAX_NODES, &node)) return answer("error partition: no such node");
    apart[node] = true;
  }
  memcpy(is_apart, apart, sizeof apart);
  is_partitioned = true;
  answer("ok");
}

static void run_stats(char **rest) {
  unsigned index;
  if (!read_index(strsep(rest, " "), interface_count, &index)) return answer("error stats: no such interface");
  const struct interface *here = &interfaces[index];
  char text[2][256];
  for (int i = 0; i < 2; i++) {
    const struct link_counts *c = i ? &here->down.counts : &here->up.counts;
    snprintf(text[i], sizeof text[i],
             "{\"packets\":%lu,\"lost\":%lu,\"above\":%lu,\"queue\":%lu,\"corrupted\":%lu,\"duplicated\":%lu,\"reordered\":%lu}",
             c->packets, c->lost, c->above, c->queue, c->corrupted, c->duplicated, c->reordered);
  }
  answer("ok {\"read\":%lu,\"written\":%lu,\"overflow\":%lu,\"up\":%s,\"down\":%s}", here->read, here->written,
         overflow_count, text[0], text[1]);
}

static void run_command(char *line) {
  char *rest = line;
  const char *verb = strsep(&rest, " ");
  if (strcmp(verb, "interface") == 0) run_interface(&rest);
  else if (strcmp(verb, "link") == 0) run_link(&rest);
  else if (strcmp(verb, "partition") == 0) run_partition(&rest);
  else if (strcmp(verb, "heal") == 0) is_partitioned = false, answer("ok");
  else if (strcmp(verb, "stats") == 0) run_stats(&rest);
  else if (strcmp(verb, "sysctl") == 0) run_sysctl(&rest);
  else if (strcmp(verb, "quit") == 0) exit(0);
  else if (strcmp(verb, "seed") == 0) {
    double value;
    if (!read_number(rest, 0, 0x1p53, &value)) return answer("error seed: no number");
    seed = (uint64_t)value * 0x9e3779b97f4a7c15ull;
    answer("ok");
  } else answer("error unknown command %.40s", verb);
}

/* Takes what stdin has and runs the lines that are whole; false at its end. */
static bool read_commands(void) {
  static char buffer[MAX_LINE];
  static size_t filled;
  static bool is_skipping; /* the rest of a line that was too long */
  ssize_t count = read(STDIN_FILENO, buffer + filled, sizeof buffer - filled);
  if (count <= 0) return count < 0 && (errno == EAGAIN || errno == EINTR);
  filled += count;
  char *start = buffer, *end;
  while ((end = memchr(start, '\n', buffer + filled - start))) {
    bool has_nul = memchr(start, 0, end - start) != NULL;
    *end = 0;
    if (is_skipping) is_skipping = false;
    else if (has_nul) answer("error a zero byte in a line");
    else run_command(start);
    start = end + 1;
  }
  filled = buffer + filled - start;
  memmove(buffer, start, filled);
  if (filled == sizeof buffer) {
    if (!is_skipping) answer("error a line above %d bytes", MAX_LINE - 1);
    is_skipping = true;
    filled = 0;
  }
  return true;
}

static void join_group(const char *file) {
  int fd = open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "0", 1) != 1) {
    answer("error %s: %s", file, strerror(errno));
    exit(1);
  }
  close(fd);
}

static int become_heir(int count, char **args) {
  if (count < 4) return 0;
  join_group(args[2]);
  setpriority(PRIO_PROCESS, 0, 0);
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  execv(args[3], args + 3);
  return 1;
}

int main(int count, char **args) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, SIG_IGN); /* of a terminal it goes to the whole group; our owner decides */
  prctl(PR_SET_TIMERSLACK, 1);
  setpriority(PRIO_PROCESS, 0, -20);
  if (count > 1) join_group(args[1]);
  own_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event commands = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
  if (own_netns < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &commands) != 0) {
    answer("error start: %s", strerror(errno));
    return 1;
  }
  for (;;) {
    struct epoll_event events[64];
    struct timespec wait, *timeout = NULL;
    if (heap_size > 0) {
      int64_t left = heap[0]->at - now_ns();
      if (left < 0) left = 0;
      wait = (struct timespec){left / 1000000000, left % 1000000000};
      timeout = &wait;
    }
    int ready = epoll_pwait2(epoll_fd, events, 64, timeout, NULL);
    if (ready < 0 && errno != EINTR) return 1;
    release_due();
    for (int i = 0; i < ready; i++) {
      if (events[i].data.u32 == UINT32_MAX) {
        if (!read_commands()) return become_heir(count, args);
      } else {
        read_frames(events[i].data.u32);
      }
    }
  }
}
