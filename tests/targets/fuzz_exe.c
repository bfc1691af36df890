/*
 * What libFuzzer gives, line by line, to the executable's reader of requests.
 *
 * Each line is copied to memory of just its length, so that a byte too many is found. Between them a good request is
 * asked, whose answer must never change.
 */
#include "agent_program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char good[] = GOOD; /* whose answer begins with BEGINNING */

static void fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    abort();
}

static size_t answered(const char *line, size_t length, char *answer) {
    char *copy = malloc(length + 1);
    memcpy(copy, line, length);
    copy[length] = '\n';
    memset(answer, 0, ANSWER_MOST + 1);
    size_t count = answer_line(copy, length, answer);
    free(copy);
    return count;
}

/* One line, of ASCII alone, which is an object; nothing behind it. */
static void check(const char *answer, size_t count) {
    if (!count)
        return;
    if (count > ANSWER_MOST || answer[0] != '{' || answer[count - 2] != '}' || answer[count - 1] != '\n')
        fail("an answer is no object on a line");
    for (size_t i = 0; i + 1 < count; i++)
        if (answer[i] < ' ' || answer[i] > '~')
            fail("an answer has something besides printable ASCII");
    if (strncmp(answer, BEGINNING, sizeof BEGINNING - 1) && strncmp(answer, "{\"error\": \"", 11))
        fail("an answer is neither what was asked for nor an error");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char answer[ANSWER_MOST + 1], first[ANSWER_MOST + 1];
    size_t expected = answered(good, sizeof good - 1, first);
    if (strncmp(first, BEGINNING, sizeof BEGINNING - 1))
        fail("the good request was refused");
    const char *line = (const char *)data;
    while (size) {
        const char *newline = memchr(line, '\n', size);
        size_t length = newline ? (size_t)(newline - line) : size;
        check(answer, answered(line, length, answer));
        size -= newline ? length + 1 : length;
        line += length + 1;
        if (answered(good, sizeof good - 1, answer) != expected || memcmp(answer, first, expected))
            fail("the good request is answered otherwise than before");
    }
    return 0;
}
