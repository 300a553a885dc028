/*
 * udpload: a stream of numbered UDP packets, and the count of what became of them,
 * for measuring what a link does. Its own program, because a claim about 1 % needs
 * hundreds of thousands of packets in seconds.
 *
 *   udpload send ADDRESS PORT COUNT BYTES PACKETS-A-SECOND
 *   udpload receive PORT IDLE-MS      prints `ready`, and at the end, IDLE-MS after the last packet:
 *     {"received":N,"unique":N,"duplicates":N,"late":N}
 *
 * `late` are first copies that come after one with a higher number.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PACKETS = 1 << 24, MAX_BYTES = 1472, FIRST_WAIT_S = 20 };

static int fail(const char *what) {
  perror(what);
  return 1;
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int run_sender(const char *address, int port, uint32_t count, size_t bytes, double rate) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || bytes < 4 || bytes > MAX_BYTES || rate <= 0) return 2;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) return fail("connect");
  uint8_t packet[MAX_BYTES] = {0};
  int64_t start = now_ns();
  for (uint32_t number = 0; number < count; number++) {
    int64_t due = start + (int64_t)(number * 1e9 / rate);
    struct timespec at = {due / 1000000000, due % 1000000000};
    /* A sleep costs 50 us, so packets go in small groups. */
    if (number % 8 == 0) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    memcpy(packet, &number, sizeof number);
    /* ECONNREFUSED tells of an earlier packet; this one was not sent. */
    if (send(fd, packet, bytes, 0) < 0 && send(fd, packet, bytes, 0) < 0) return fail("send");
  }
  return 0;
}

static int run_receiver(int port, int idle_ms) {
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_DGRAM, 0), room = 256 << 20;
  uint8_t *seen = calloc(MAX_PACKETS / 8, 1);
  if (fd < 0 || !seen || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0 ||
      bind(fd, (struct sockaddr *)&own, sizeof own) != 0)
    return fail("bind");
  struct timeval wait = {.tv_sec = FIRST_WAIT_S};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  printf("ready\n");
  fflush(stdout);
  uint64_t received = 0, unique = 0, duplicates = 0, late = 0;
  uint32_t highest = 0, number;
  uint8_t packet[MAX_BYTES];
  while (recv(fd, packet, sizeof packet, 0) >= (ssize_t)sizeof number) {
    if (received++ == 0) {
      wait = (struct timeval){idle_ms / 1000, idle_ms % 1000 * 1000};
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    }
    memcpy(&number, packet, sizeof number);
    if (number >= MAX_PACKETS) continue;
    bool is_known = seen[number / 8] >> (number % 8) & 1;
    seen[number / 8] |= 1 << (number % 8);
    if (is_known) duplicates++;
    else unique++;
    if (!is_known && number < highest) late++;
    if (number > highest) highest = number;
  }
  printf("{\"received\":%lu,\"unique\":%lu,\"duplicates\":%lu,\"late\":%lu}\n", received, unique, duplicates, late);
  return 0;
}

int main(int count, char **args) {
  if (count == 7 && strcmp(args[1], "send") == 0)
    return run_sender(args[2], atoi(args[3]), strtoul(args[4], NULL, 10), strtoul(args[5], NULL, 10), atof(args[6]));
  if (count == 4 && strcmp(args[1], "receive") == 0) return run_receiver(atoi(args[2]), atoi(args[3]));
  fprintf(stderr, "udpload: bad arguments\n");
  return 2;
}
