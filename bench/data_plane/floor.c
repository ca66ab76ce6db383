/* The floor: what a gateway does for a prediction, in C, with nothing that a gateway needs beside it.
 *
 *     cc -O2 -o floor floor.c && ./floor TOKEN SPOOL SLOT...          (SPOOL is a file, or - for none)
 *
 * It listens on a free port, which it prints, and does for each request: read it, find the head's end, the length of the body
 * and the token, compare the token, draw one of the slots, send a REQUEST frame, take STARTED, HEAD, CHUNK and END, count
 * the latency in a histogram, write a record with its CRC-32, and answer. What came in one turn leaves in one write for each
 * slot, for the records, and for each client, as in the gateway. It has no limits, no time-outs, no retries, no routes, no
 * order, one status, and trusts whoever talks to it: it is there to be measured against. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { READ = 256 << 10, CLIENTS = 4096, LINKS = 8, IN_FLIGHT = 1 << 16, EVENTS = 256, HEADER = 16 };

struct buffer { char *data; size_t size, room; };
struct client { char data[64 << 10]; size_t have; };
struct call { int fd; uint64_t began_us; char id[36]; char *body, *answer; size_t body_size, answer_size; };
struct link { int fd; struct buffer in, out; };

static struct client *clients[CLIENTS];
static struct call calls[IN_FLIGHT];
static struct link links[LINKS];
static int link_count, epoll, spool = -1;
static uint64_t next_id = 1, histogram[64];
static struct buffer records, answers;
static struct { int fd; size_t start, size; } leaving[IN_FLIGHT];
static int leaving_count;
static uint32_t crc_table[8][256];

static uint64_t now_us(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static char *room(struct buffer *b, size_t size) {
    if (b->size + size > b->room) b->data = realloc(b->data, b->room = (b->size + size) * 2);
    b->size += size;
    return b->data + b->size - size;
}

static void put(struct buffer *b, const void *data, size_t size) { memcpy(room(b, size), data, size); }

static void make_crc_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        crc_table[0][i] = c;
    }
    for (int t = 1; t < 8; t++)
        for (int i = 0; i < 256; i++) crc_table[t][i] = crc_table[0][crc_table[t - 1][i] & 255] ^ (crc_table[t - 1][i] >> 8);
}

static uint32_t crc32_of(const unsigned char *p, size_t size) {
    uint32_t c = ~0u, low, high;
    for (; size >= 8; size -= 8, p += 8) {
        memcpy(&low, p, 4), memcpy(&high, p + 4, 4), low ^= c;
        c = crc_table[7][low & 255] ^ crc_table[6][low >> 8 & 255] ^ crc_table[5][low >> 16 & 255] ^ crc_table[4][low >> 24] ^
            crc_table[3][high & 255] ^ crc_table[2][high >> 8 & 255] ^ crc_table[1][high >> 16 & 255] ^ crc_table[0][high >> 24];
    }
    while (size--) c = crc_table[0][(c ^ *p++) & 255] ^ (c >> 8);
    return ~c;
}

static uint32_t draw(void) {
    static uint32_t pool[256];
    static int used = 256;
    if (used == 256 && getrandom(pool, sizeof pool, 0) == (ssize_t)sizeof pool) used = 0;
    return pool[used++];
}

static void make_id(char *id) {
    static const char digits[] = "0123456789abcdef";
    uint32_t bits = 0;
    for (int i = 0; i < 36; i++) {
        if (i % 8 == 0) bits = draw();
        id[i] = i == 8 || i == 13 || i == 18 || i == 23 ? '-' : i == 14 ? '4' : i == 19 ? 'a' : digits[bits & 15];
        bits >>= 4;
    }
}

/* A request is whole: to one of the slots with it. */
static void submit(int fd, const char *body, size_t size) {
    struct link *link = &links[draw() % link_count];
    uint64_t id = next_id++;
    struct call *call = &calls[id % IN_FLIGHT];
    char meta[128];
    make_id(call->id);
    uint16_t length = snprintf(meta, sizeof meta, "{\"request_id\":\"%.36s\",\"endpoint\":\"iris\"}", call->id);
    call->fd = fd, call->began_us = now_us(CLOCK_MONOTONIC), call->body_size = size, call->answer_size = 0;
    call->body = realloc(call->body, size + 1);
    memcpy(call->body, body, size);
    struct { uint32_t length; uint8_t type, zero[3]; uint64_t id; } header = {2 + length + size, 2, {0}, id};
    put(&link->out, &header, HEADER), put(&link->out, &length, 2), put(&link->out, meta, length), put(&link->out, body, size);
}

static void finish(struct call *call, const char *notes, uint32_t notes_size) {
    uint64_t elapsed_us = now_us(CLOCK_MONOTONIC) - call->began_us;
    int bucket = 0;
    while (elapsed_us >> bucket && bucket < 63) bucket++;
    histogram[bucket]++;
    if (spool >= 0) {
        struct __attribute__((packed)) {
            uint32_t length, crc; uint8_t kind, flags; uint16_t status; uint32_t context; char id[36];
            uint64_t received_us; uint32_t total_us, notes, request, zero;
        } head = {68 + notes_size + call->body_size + call->answer_size, 0, 2, 0, 200, 0, {0},
                  now_us(CLOCK_REALTIME) - elapsed_us, elapsed_us, notes_size, call->body_size, 0};
        memcpy(head.id, call->id, 36);
        size_t at = records.size;
        put(&records, &head, sizeof head), put(&records, notes, notes_size);
        put(&records, call->body, call->body_size), put(&records, call->answer, call->answer_size);
        uint32_t crc = crc32_of((unsigned char *)records.data + at + 8, head.length);
        memcpy(records.data + at + 4, &crc, 4);
    }
    char head[512];
    int size = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserved-model-name: a\r\nx-penstock-replica: a-0\r\n"
        "x-databricks-request-id: %.36s\r\ndatabricks-request-id: %.36s\r\ncontent-length: %zu\r\n\r\n",
        call->id, call->id, call->answer_size);
    leaving[leaving_count].fd = call->fd, leaving[leaving_count].start = answers.size;
    put(&answers, head, size), put(&answers, call->answer, call->answer_size);
    leaving[leaving_count].size = answers.size - leaving[leaving_count].start, leaving_count++;
}

static void take_frames(struct link *link) {
    size_t at = 0;
    while (link->in.size - at >= HEADER) {
        char *frame = link->in.data + at;
        uint32_t length;
        uint64_t id;
        memcpy(&length, frame, 4), memcpy(&id, frame + 8, 8);
        if (link->in.size - at < HEADER + length) break;
        struct call *call = &calls[id % IN_FLIGHT];
        if (frame[4] == 5) {
            call->answer = realloc(call->answer, call->answer_size + length + 1);
            memcpy(call->answer + call->answer_size, frame + HEADER, length), call->answer_size += length;
        } else if (frame[4] == 6)
            finish(call, frame + HEADER, length);
        at += HEADER + length;
    }
    memmove(link->in.data, link->in.data + at, link->in.size - at), link->in.size -= at;
}

/* A client has sent something: what it holds of whole requests is submitted. */
static void take_requests(int fd, struct client *client, const char *token) {
    size_t at = 0;
    for (;;) {
        char *start = client->data + at, *end = memmem(start, client->have - at, "\r\n\r\n", 4);
        if (!end) break;
        char *authorization = NULL;
        size_t length = 0;
        for (char *line = start; line < end; line = (char *)memmem(line, end + 2 - line, "\r\n", 2) + 2) {
            if (!strncasecmp(line, "content-length:", 15)) length = strtoul(line + 15, NULL, 10);
            if (!strncasecmp(line, "authorization: bearer ", 22)) authorization = line + 22;
        }
        if ((size_t)(end + 4 - start) + length > client->have - at) break;
        if (!authorization || strncmp(authorization, token, strlen(token)))
            write(fd, "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", 49);
        else
            submit(fd, end + 4, length);
        at += end + 4 - start + length;
    }
    memmove(client->data, client->data + at, client->have - at), client->have -= at;
}

static void watch(int fd) {
    struct epoll_event event = {EPOLLIN, {.fd = fd}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void write_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n <= 0) return;
        data += n, size -= n;
    }
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    make_crc_table();
    epoll = epoll_create1(0);
    if (strcmp(arguments[2], "-")) spool = open(arguments[2], O_WRONLY | O_CREAT | O_APPEND, 0600);
    for (int i = 3; i < count && link_count < LINKS; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, arguments[i], sizeof address.sun_path - 1);
        links[link_count].fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(links[link_count].fd, (struct sockaddr *)&address, sizeof address)) return 1;
        watch(links[link_count++].fd);
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    bind(listener, (struct sockaddr *)&address, size), listen(listener, 1024);
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("127.0.0.1:%d\n", ntohs(address.sin_port)), fflush(stdout);
    watch(listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int found = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < found; i++) {
            int fd = events[i].data.fd, is_link = 0;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                if (client >= 0 && client < CLIENTS) {
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    clients[client] = calloc(1, sizeof(struct client)), watch(client);
                }
                continue;
            }
            for (int k = 0; k < link_count; k++)
                if (links[k].fd == fd) {
                    char *to = room(&links[k].in, READ);
                    ssize_t n = read(fd, to, READ);
                    if (n <= 0) return 1;
                    links[k].in.size -= READ - n;
                    take_frames(&links[k]), is_link = 1;
                }
            if (is_link) continue;
            struct client *client = clients[fd];
            ssize_t n = read(fd, client->data + client->have, sizeof client->data - client->have);
            if (n <= 0) {
                close(fd), free(client);
                continue;
            }
            client->have += n;
            take_requests(fd, client, arguments[1]);
        }
        for (int k = 0; k < link_count; k++)
            if (links[k].out.size) write_all(links[k].fd, links[k].out.data, links[k].out.size), links[k].out.size = 0;
        if (records.size) write_all(spool, records.data, records.size), records.size = 0;
        for (int i = 0; i < leaving_count; i++) write_all(leaving[i].fd, answers.data + leaving[i].start, leaving[i].size);
        leaving_count = 0, answers.size = 0;
    }
}
