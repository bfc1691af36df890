/*
 * How a program on a microcontroller reads and writes files of the machine that emulates or debugs it. Source:
 * Semihosting for AArch32 and AArch64, Arm.
 */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { READING = 1, WRITING = 5 };
#define APPLICATION_EXIT 0x20026

static inline int32_t semihosting(uint32_t operation, const void *arguments) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

/* A handle, or -1. */
static inline int32_t file_open(const char *name, uint32_t size, uint32_t mode) {
    const uint32_t arguments[] = {(uint32_t)name, mode, size};
    return semihosting(SYS_OPEN, arguments);
}

/* The number of bytes that could not be moved. */
static inline int32_t file_move(uint32_t operation, int32_t file, const void *bytes, uint32_t size) {
    const uint32_t arguments[] = {(uint32_t)file, (uint32_t)bytes, size};
    return semihosting(operation, arguments);
}

static inline void file_close(int32_t file) {
    const uint32_t arguments[] = {(uint32_t)file};
    semihosting(SYS_CLOSE, arguments);
}

__attribute__((noreturn)) static inline void leave(int status) {
    const uint32_t arguments[] = {APPLICATION_EXIT, (uint32_t)status};
    semihosting(SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}

#endif
