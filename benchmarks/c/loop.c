/*
 * What everybody in C is measured in: a loop that knows nothing of what it calls, so that nothing is moved out of it.
 */
#include <stdint.h>

typedef int64_t answer(const void *observation, void *action);

/* Goes through all observations several times; returns the sum of what the answers return, 0 if all went well. */
int64_t loop(answer *call, const char *observations, int64_t count, int64_t stride, int64_t passes, void *action) {
    int64_t sum = 0;
    for (int64_t pass = 0; pass < passes; pass++)
        for (int64_t row = 0; row < count; row++)
            sum += call(observations + row * stride, action);
    return sum;
}
