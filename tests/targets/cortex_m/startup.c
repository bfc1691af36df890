/*
 * What a Cortex-M4F or -M7 does before main: vector table, floating-point unit, variables. No library of C is there.
 */
#include <stdint.h>

#include "image_semihosting.h"

extern uint32_t image_stack_top[], image_data_source[], image_data[], image_data_end[], image_bss[], image_bss_end[];
extern int main(void);

#define CPACR (*(volatile uint32_t *)0xE000ED88)
#define FULL_ACCESS (0xFu << 20)

/* Without an optimiser that finds memcpy and memset in loops, which nobody has defined yet. */
static void reset(void) {
    CPACR |= FULL_ACCESS;
    __asm__ volatile("dsb\n isb");
    for (volatile uint32_t *to = image_data, *from = image_data_source; to < image_data_end;)
        *to++ = *from++;
    for (volatile uint32_t *to = image_bss; to < image_bss_end;)
        *to++ = 0;
    leave(main());
}

/* Any fault ends the program, with a status that main does not give. */
static void fault(void) { leave(99); }

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    handler handlers[15];
} vectors = {image_stack_top, {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault}};

/* What compilers call for assignments of structs and loops over bytes. */
void *memcpy(void *to, const void *from, uint32_t size) {
    for (uint32_t i = 0; i < size; i++)
        ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

void *memset(void *to, int value, uint32_t size) {
    for (uint32_t i = 0; i < size; i++)
        ((volatile uint8_t *)to)[i] = (uint8_t)value;
    return to;
}
