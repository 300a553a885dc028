/*
 * usrsctp as a peer: raw SCTP packets over a connected UDP socket on loopback.
 * Echoes every message on its stream with its PPID and order, answers a DCEP OPEN
 * with an ACK, ends a stream when we end it, and obeys a few commands on PPID 51:
 * "burst N SIZE" sends N messages with no retransmissions, "big SIZE" one message,
 * "reset SID" ends a stream, "bye" shuts down.
 * Arguments: our UDP port, the peer's, 1 for interleaving.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <usrsctp.h>

#define STREAMS 64
#define MAX_MESSAGE (1 << 22)
#define OPTION_INTERLEAVING 0x1206

static int udp;
static struct { char *data; size_t length; } partial[STREAMS];

static int output(void *address, void *packet, size_t length, uint8_t tos, uint8_t df) {
  (void)address; (void)tos; (void)df;
  if (send(udp, packet, length, 0) < 0) return 0; /* as if lost */
  return 0;
}

static void put(struct socket *sock, uint16_t sid, uint32_t ppid, uint16_t flags, const void *data, size_t length, int unreliable) {
  struct sctp_sendv_spa spa;
  memset(&spa, 0, sizeof spa);
  spa.sendv_flags = SCTP_SEND_SNDINFO_VALID;
  spa.sendv_sndinfo.snd_sid = sid;
  spa.sendv_sndinfo.snd_ppid = htonl(ppid);
  spa.sendv_sndinfo.snd_flags = flags;
  if (unreliable) {
    spa.sendv_flags |= SCTP_SEND_PRINFO_VALID;
    spa.sendv_prinfo.pr_policy = SCTP_PR_SCTP_RTX;
    spa.sendv_prinfo.pr_value = 0;
  }
  if (usrsctp_sendv(sock, data, length, NULL, 0, &spa, sizeof spa, SCTP_SENDV_SPA, 0) < 0) perror("sendv");
}

static void reset(struct socket *sock, uint16_t sid) {
  char space[sizeof(struct sctp_reset_streams) + sizeof(uint16_t)];
  struct sctp_reset_streams *request = (struct sctp_reset_streams *)space;
  memset(space, 0, sizeof space);
  request->srs_assoc_id = SCTP_ALL_ASSOC;
  request->srs_flags = SCTP_STREAM_RESET_OUTGOING;
  request->srs_number_streams = 1;
  request->srs_stream_list[0] = sid;
  if (usrsctp_setsockopt(sock, IPPROTO_SCTP, SCTP_RESET_STREAMS, request, sizeof space) < 0) perror("reset");
}

static void command(struct socket *sock, uint16_t sid, char *text) {
  unsigned count, size;
  if (sscanf(text, "burst %u %u", &count, &size) == 2) {
    char *data = calloc(1, size);
    for (unsigned at = 0; at < count; at++) {
      memcpy(data, &at, 4);
      put(sock, sid, 53, 0, data, size, 1);
      usleep(500);
    }
    free(data);
  } else if (sscanf(text, "big %u", &size) == 1) {
    char *data = malloc(size);
    for (unsigned at = 0; at < size; at++) data[at] = (char)(at * 7);
    put(sock, sid, 53, 0, data, size, 0);
    free(data);
  } else if (sscanf(text, "reset %u", &count) == 1) reset(sock, count);
  else if (strcmp(text, "bye") == 0) usrsctp_shutdown(sock, SHUT_WR);
  else put(sock, sid, 51, 0, text, strlen(text), 0);
}

static int receive(struct socket *sock, union sctp_sockstore from, void *data, size_t length, struct sctp_rcvinfo info, int flags, void *ulp) {
  (void)from; (void)ulp;
  if (data == NULL) return 1;
  if (flags & MSG_NOTIFICATION) {
    union sctp_notification *event = data;
    if (event->sn_header.sn_type == SCTP_STREAM_RESET_EVENT) {
      struct sctp_stream_reset_event *streams = &event->sn_strreset_event;
      unsigned count = (streams->strreset_length - sizeof *streams) / sizeof(uint16_t);
      for (unsigned at = 0; at < count; at++) {
        if (streams->strreset_flags & SCTP_STREAM_RESET_INCOMING_SSN) reset(sock, streams->strreset_stream_list[at]);
      }
    }
    if (event->sn_header.sn_type == SCTP_ASSOC_CHANGE) {
      struct sctp_assoc_change *change = &event->sn_assoc_change;
      printf("state %u", change->sac_state);
      for (unsigned at = 0; at + sizeof *change < change->sac_length; at++) printf(" %u", change->sac_info[at]);
      printf("\n");
      fflush(stdout);
    }
    free(data);
    return 1;
  }
  uint16_t sid = info.rcv_sid;
  if (sid < STREAMS) {
    if (!partial[sid].data) partial[sid].data = malloc(MAX_MESSAGE + 1);
    memcpy(partial[sid].data + partial[sid].length, data, length);
    partial[sid].length += length;
    if (flags & MSG_EOR) {
      uint32_t ppid = ntohl(info.rcv_ppid);
      uint16_t unordered = info.rcv_flags & SCTP_UNORDERED;
      char *message = partial[sid].data;
      message[partial[sid].length] = 0;
      if (ppid == 50 && message[0] == 3) put(sock, sid, 50, 0, "\x02", 1, 0);
      else if (ppid == 51) command(sock, sid, message);
      else if (ppid != 50) put(sock, sid, ppid, unordered, message, partial[sid].length, 0);
      partial[sid].length = 0;
    }
  }
  free(data);
  return 1;
}

static void *read_udp(void *unused) {
  char packet[65536];
  (void)unused;
  for (;;) {
    ssize_t length = recv(udp, packet, sizeof packet, 0);
    if (length > 0) usrsctp_conninput((void *)&udp, packet, length, 0);
  }
  return NULL;
}

int main(int count, char **values) {
  if (count < 4) return 2;
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(atoi(values[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons(atoi(values[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  udp = socket(AF_INET, SOCK_DGRAM, 0);
  int buffer = 4 << 20;
  setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  if (bind(udp, (struct sockaddr *)&local, sizeof local) < 0 || connect(udp, (struct sockaddr *)&remote, sizeof remote) < 0) return 3;
  usrsctp_init(0, output, NULL);
  usrsctp_sysctl_set_sctp_ecn_enable(0);
  usrsctp_sysctl_set_sctp_rto_min_default(50);
  usrsctp_sysctl_set_sctp_rto_initial_default(200);
  usrsctp_sysctl_set_sctp_init_rto_max_default(500);
  usrsctp_register_address((void *)&udp);
  struct socket *sock = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, receive, NULL, 0, NULL);
  usrsctp_set_non_blocking(sock, 1);
  int on = 1, level = 2, space = 4 << 20;
  struct sctp_assoc_value value = {.assoc_id = SCTP_ALL_ASSOC, .assoc_value = SCTP_ENABLE_RESET_STREAM_REQ};
  usrsctp_setsockopt(sock, IPPROTO_SCTP, SCTP_ENABLE_STREAM_RESET, &value, sizeof value);
  usrsctp_setsockopt(sock, IPPROTO_SCTP, SCTP_NODELAY, &on, sizeof on);
  usrsctp_setsockopt(sock, IPPROTO_SCTP, SCTP_RECVRCVINFO, &on, sizeof on);
  usrsctp_setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &space, sizeof space);
  usrsctp_setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
  /* Whole messages only: a later one on the same stream may overtake one that is handed over in parts. */
  uint32_t whole = 2 << 20;
  if (usrsctp_setsockopt(sock, IPPROTO_SCTP, SCTP_PARTIAL_DELIVERY_POINT, &whole, sizeof whole) < 0) perror("delivery point");
  if (atoi(values[3])) {
    usrsctp_setsockopt(sock, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE, &level, sizeof level);
    value.assoc_value = 1;
    if (usrsctp_setsockopt(sock, IPPROTO_SCTP, OPTION_INTERLEAVING, &value, sizeof value) < 0) perror("interleaving");
  }
  uint16_t events[] = {SCTP_ASSOC_CHANGE, SCTP_STREAM_RESET_EVENT};
  for (unsigned at = 0; at < 2; at++) {
    struct sctp_event event = {.se_assoc_id = SCTP_ALL_ASSOC, .se_type = events[at], .se_on = 1};
    usrsctp_setsockopt(sock, IPPROTO_SCTP, SCTP_EVENT, &event, sizeof event);
  }
  struct sctp_initmsg streams = {.sinit_num_ostreams = STREAMS, .sinit_max_instreams = STREAMS};
  usrsctp_setsockopt(sock, IPPROTO_SCTP, SCTP_INITMSG, &streams, sizeof streams);
  struct sockaddr_conn address = {.sconn_family = AF_CONN, .sconn_port = htons(5000), .sconn_addr = (void *)&udp};
  if (usrsctp_bind(sock, (struct sockaddr *)&address, sizeof address) < 0) return 4;
  pthread_t reader;
  pthread_create(&reader, NULL, read_udp, NULL);
  usrsctp_connect(sock, (struct sockaddr *)&address, sizeof address);
  printf("ready\n");
  fflush(stdout);
  /* The test closes our input when it is done. */
  char end;
  while (read(0, &end, 1) > 0) {}
  _exit(0);
}
