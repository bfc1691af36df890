/*
 * Gives a policy random and hostile observations in buffers of exactly the right size, and checks what it leaves behind.
 *
 * Each buffer ends, and in every second round begins, at a page that nobody may touch. With the argument `heap` the
 * buffers come from malloc instead: for tools that watch it.
 *
 * hostile_policy.h, which a test writes, has
 *
 *     POLICY(name), POLICY_(NAME)     the names of functions and macros
 *     INPUTS(X)                       X(type, number, values, kind, least, most) for each array that the policy takes
 *     GIVEN                           these arrays as arguments, from void *given[]
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile_policy.h"

enum { FLOATS, DOUBLES, CHOICES, BYTES };
enum { ROUNDS = 60, MOST_ARRAYS = 16, MOST_ROWS = 37 };

typedef struct array {
    size_t size, values;
    int kind;
    long long least, most;
} array;

#define DESCRIBED(type, number, count, kind, least, most) {sizeof(type), count, kind, least, most},
static const array arrays[] = {INPUTS(DESCRIBED)};
static const size_t array_count = sizeof arrays / sizeof *arrays;

static unsigned long long seed = 88172645463325252ull;

static unsigned long long next_random(void) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

static int from_heap;
static int at_start;

typedef struct buffer {
    unsigned char *data, *pages;
    size_t size, length;
} buffer;

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    abort();
}

static buffer take(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
    buffer taken = {NULL, NULL, size, whole + 2 * page};
    if (from_heap) {
        taken.data = malloc(size ? size : 1);
    } else {
        taken.pages = mmap(NULL, taken.length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (taken.pages == MAP_FAILED || (whole && mprotect(taken.pages + page, whole, PROT_READ | PROT_WRITE)))
            fail("no memory");
        taken.data = taken.pages + page + (at_start ? 0 : whole - size);
    }
    if (!taken.data)
        fail("no memory");
    memset(taken.data, 0x5a, size);
    return taken;
}

static void give_back(buffer taken) {
    if (from_heap)
        free(taken.data);
    else
        munmap(taken.pages, taken.length);
}

/* A value of an array: mostly of its space, if `tame` always. */
static void put(const array *of, unsigned char *at, int tame) {
    static const double strange[] = {NAN, INFINITY, -INFINITY, 3.4e38, -3.4e38, 1e-45, -0.0, 1e30};
    unsigned long long random = next_random();
    int hostile = !tame && random % 64 == 0;
    double real = hostile ? strange[(random >> 8) % 8] : (double)(long long)(random >> 40) / 4194304.0 - 2.0;
    long long span = of->most - of->least + 1;
    long long choice = hostile ? (long long)random : of->least + (long long)((random >> 16) % (unsigned long long)span);
    float single = (float)real;
    unsigned char byte = (unsigned char)choice;
    switch (of->kind) {
    case FLOATS:
        memcpy(at, &single, sizeof single);
        break;
    case DOUBLES:
        memcpy(at, &real, sizeof real);
        break;
    case CHOICES:
        memcpy(at, &choice, sizeof choice);
        break;
    default:
        *at = byte;
    }
}

static void fill(buffer *into, size_t rows, int tame) {
    for (size_t number = 0; number < array_count; number++) {
        const array *of = &arrays[number];
        into[number] = take(rows * of->values * of->size);
        for (size_t i = 0; i < rows * of->values; i++)
            put(of, into[number].data + i * of->size, tame);
    }
}

static int same(buffer left, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        if (left.data[i] != 0x5a)
            return 0;
    return 1;
}

static long answered, refused;

static void count_status(int status) {
    if (status == 0)
        answered++;
    else if (status == -2 || status == -3 || status == -4)
        refused++;
    else
        fail("a status that there is not");
}

static void ask_one(int tame, int scored) {
    buffer inputs[MOST_ARRAYS], state = take(sizeof(POLICY(state)));
    buffer action = take(POLICY_(ACTION_SIZE) * sizeof(ACTION)), scores = take(POLICY_(SCORES_SIZE) * sizeof(float));
    unsigned char before[REMEMBERED + 1];
    void *given[MOST_ARRAYS];
    POLICY(reset)((POLICY(state) *)(void *)state.data);
    for (int step = 0; step < 3; step++) {
        fill(inputs, 1, tame);
        for (size_t number = 0; number < array_count; number++)
            given[number] = inputs[number].data;
        memcpy(before, state.data, REMEMBERED);
        memset(action.data, 0x5a, action.size);
        memset(scores.data, 0x5a, scores.size);
        POLICY(status) status = POLICY(predict_scores)(
            (POLICY(state) *)(void *)state.data, GIVEN, (ACTION *)(void *)action.data,
            scored ? (float *)(void *)scores.data : NULL);
        count_status(status);
        if (tame && status)
            fail("an observation of the space is refused");
        if (status && (!same(action, 0, action.size) || !same(scores, 0, scores.size)))
            fail("a refused call has written an action or scores");
        if (status && memcmp(before, state.data, REMEMBERED))
            fail("a refused call has changed what is remembered");
        if (!scored && !same(scores, 0, scores.size))
            fail("scores that nobody asked for");
        for (size_t number = 0; number < array_count; number++)
            give_back(inputs[number]);
    }
    give_back(state), give_back(action), give_back(scores);
}

#ifdef BATCHES
static void ask_batch(size_t rows, int tame, int scored) {
    buffer inputs[MOST_ARRAYS], room = take(POLICY_(BATCH_ROOM) * sizeof(float));
    buffer actions = take(rows * POLICY_(ACTION_SIZE) * sizeof(ACTION));
    buffer scores = take(rows * POLICY_(SCORES_SIZE) * sizeof(float));
    void *given[MOST_ARRAYS];
    fill(inputs, rows, tame);
    for (size_t number = 0; number < array_count; number++)
        given[number] = inputs[number].data;
    POLICY(status) status = POLICY(predict_batch)(
        (float *)(void *)room.data, rows, GIVEN, (ACTION *)(void *)actions.data,
        scored ? (float *)(void *)scores.data : NULL);
    count_status(status);
    if (tame && status)
        fail("a batch of the space is refused");
    give_back(room), give_back(actions), give_back(scores);
    for (size_t number = 0; number < array_count; number++)
        give_back(inputs[number]);
}
#endif

int main(int count, char **arguments) {
    from_heap = count > 1 && !strcmp(arguments[1], "heap");
    for (int round = 0; round < ROUNDS; round++) {
        at_start = round & 1;
        ask_one(round % 4 < 2, round & 1);
        ask_one(round % 4 < 2, !(round & 1));
#ifdef BATCHES
        ask_batch((size_t)round % MOST_ROWS, round % 4 < 2, round % 3 != 0);
#endif
    }
    printf("%ld answered, %ld refused\n", answered, refused);
    return 0;
}
