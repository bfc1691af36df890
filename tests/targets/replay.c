/*
 * Answers questions from standard input on standard output: one by one and, where the policy takes batches, all at once.
 *
 * It runs on Linux on any processor, and without a libc, since a policy needs none.
 */
#include "replay_policy.h"

enum { INPUT, OUTPUT };

#if defined(__aarch64__) || defined(__riscv)
enum { READ = 63, WRITE = 64, EXIT = 93 };
#elif defined(__arm__)
enum { READ = 3, WRITE = 4, EXIT = 1 };
#endif

static long call_system(long number, long first, const void *second, long third) {
#if defined(__aarch64__)
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = first, x2 __asm__("x2") = third;
    register const void *x1 __asm__("x1") = second;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#elif defined(__riscv)
    register long a7 __asm__("a7") = number, a0 __asm__("a0") = first, a2 __asm__("a2") = third;
    register const void *a1 __asm__("a1") = second;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
#elif defined(__arm__)
    register long r7 __asm__("r7") = number, r0 __asm__("r0") = first, r2 __asm__("r2") = third;
    register const void *r1 __asm__("r1") = second;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
#endif
}

/* Reads or writes so many bytes; whether all of them have come or gone. */
static int move(long operation, long file, const void *bytes, size_t size) {
    size_t moved = 0;
    while (moved < size) {
        long count = call_system(operation, file, (const char *)bytes + moved, (long)(size - moved));
        if (count <= 0)
            return 0;
        moved += (size_t)count;
    }
    return 1;
}

static policy_state state;
static question questions[ROWS];
static answer answers[ROWS];

__attribute__((noreturn, used)) void _start(void) {
    size_t count = 0;
    while (count < ROWS && move(READ, INPUT, questions + count, sizeof *questions))
        count++;
    for (size_t row = 0; row < count; row++)
        ask(&state, questions + row, answers + row);
    int status = !move(WRITE, OUTPUT, answers, count * sizeof *answers);
#ifdef BATCHES
    ask_all(count, questions, answers);
    status |= !move(WRITE, OUTPUT, answers, count * sizeof *answers);
#endif
    for (;;)
        call_system(EXIT, status, 0, 0);
}

/* What compilers call for assignments of structs and loops over bytes. */
void *memcpy(void *to, const void *from, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((volatile unsigned char *)to)[i] = ((const unsigned char *)from)[i];
    return to;
}

void *memset(void *to, int value, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((volatile unsigned char *)to)[i] = (unsigned char)value;
    return to;
}
