/*
 * A DTLS 1.3 peer made of wolfSSL, for interop-wolfssl.test.ts:
 *   wolfssl-peer server|client PORT CERTIFICATE.pem KEY.pem CIPHERS GROUP OPTIONS
 * It demands a certificate and takes any, prints what was negotiated, echoes one
 * line in capitals as server, sends one and prints the answer as client.
 * OPTIONS: letters of k (update keys before sending), c (no share in the first hello), - (none).
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

static int accept_any(int ok, WOLFSSL_X509_STORE_CTX *store) {
  (void)ok;
  (void)store;
  return 1;
}

static void fail(const char *what, WOLFSSL *ssl) {
  char text[80];
  int error = ssl ? wolfSSL_get_error(ssl, 0) : 0;
  fprintf(stderr, "FAILED %s: %d %s\n", what, error, wolfSSL_ERR_error_string((unsigned long)error, text));
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 8) return 2;
  int is_server = strcmp(argv[1], "server") == 0;
  setvbuf(stdout, NULL, _IONBF, 0);
  wolfSSL_Init();
  WOLFSSL_CTX *ctx = wolfSSL_CTX_new(is_server ? wolfDTLSv1_3_server_method() : wolfDTLSv1_3_client_method());
  if (!ctx) fail("context", NULL);
  if (wolfSSL_CTX_use_certificate_file(ctx, argv[3], WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS) fail("certificate", NULL);
  if (wolfSSL_CTX_use_PrivateKey_file(ctx, argv[4], WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS) fail("key", NULL);
  if (wolfSSL_CTX_set_cipher_list(ctx, argv[5]) != WOLFSSL_SUCCESS) fail("ciphers", NULL);
  wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any);

  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (is_server) {
    char first;
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) fail("bind", NULL);
    printf("READY\n");
    recvfrom(fd, &first, 1, MSG_PEEK, (struct sockaddr *)&from, &length);
    address = from;
  }
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect", NULL);

  WOLFSSL *ssl = wolfSSL_new(ctx);
  wolfSSL_dtls_set_peer(ssl, &address, sizeof address);
  wolfSSL_set_fd(ssl, fd);
  int group = strcmp(argv[6], "X25519") == 0 ? WOLFSSL_ECC_X25519 : WOLFSSL_ECC_SECP256R1;
  if (is_server) {
    int groups[1] = {group};
    wolfSSL_set_groups(ssl, groups, 1);
  } else if (strchr(argv[7], 'c')) {
    wolfSSL_NoKeyShares(ssl);
  } else if (wolfSSL_UseKeyShare(ssl, (unsigned short)group) != WOLFSSL_SUCCESS) {
    fail("share", ssl);
  }
  if ((is_server ? wolfSSL_accept(ssl) : wolfSSL_connect(ssl)) != WOLFSSL_SUCCESS) fail("handshake", ssl);
  printf("CONNECTED %s %s %s\n", wolfSSL_get_version(ssl), wolfSSL_get_cipher_name(ssl), wolfSSL_get_curve_name(ssl));
  if (strchr(argv[7], 'k') && wolfSSL_update_keys(ssl) != WOLFSSL_SUCCESS) fail("update", ssl);

  char line[2000];
  if (!is_server && wolfSSL_write(ssl, "hello of wolfssl", 16) != 16) fail("write", ssl);
  for (;;) {
    int length = wolfSSL_read(ssl, line, sizeof line);
    if (length <= 0) break;
    printf("GOT %.*s\n", length, line);
    if (!is_server) continue;
    for (int i = 0; i < length; i++) line[i] = (char)toupper((unsigned char)line[i]);
    if (wolfSSL_write(ssl, line, length) != length) fail("write", ssl);
  }
  printf("ENDED %d\n", wolfSSL_get_error(ssl, 0));
  return 0;
}
