/*
 * ONNX Runtime through its C API: one session, one input and one output that lie at a fixed place.
 *
 * The wheel of ONNX Runtime has the library but no header. Of the API, a struct of function pointers, version 1 is all
 * that is needed here; its order can't change (the library's own source asserts that), so a function is known by its
 * position.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum position {
    GET_ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    CREATE_SESSION_FROM_ARRAY = 8,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    SET_INTRA_OP_NUM_THREADS = 24,
    SET_INTER_OP_NUM_THREADS = 25,
    CREATE_TENSOR_WITH_DATA = 49,
    CREATE_CPU_MEMORY_INFO = 69
};

enum { VERSION = 1, WARNING = 2, DEVICE_ALLOCATOR = 0, DEFAULT_MEMORY = 0 };

typedef void function(void);
typedef void status; /* NULL: all went well */

typedef struct api_base {
    function *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} api_base;

extern const api_base *OrtGetApiBase(void);

static function *const *api;
static void *session, *input, *output;
static size_t input_size, output_size;
static char given[1 << 18], result[1 << 10];
static char message[400];

static int failed(status *problem) {
    if (problem) {
        const char *text = ((const char *(*)(const status *))api[GET_ERROR_MESSAGE])(problem);
        snprintf(message, sizeof message, "%s", text);
    }
    return problem != NULL;
}

static int open_session(const void *file, size_t length) {
    void *environment, *options;
    return failed(((status * (*)(int, const char *, void **)) api[CREATE_ENV])(WARNING, "benchmarks", &environment)) ||
           failed(((status * (*)(void **)) api[CREATE_SESSION_OPTIONS])(&options)) ||
           failed(((status * (*)(void *, int)) api[SET_INTRA_OP_NUM_THREADS])(options, 1)) ||
           failed(((status * (*)(void *, int)) api[SET_INTER_OP_NUM_THREADS])(options, 1)) ||
           failed(((status * (*)(void *, const void *, size_t, void *, void **)) api[CREATE_SESSION_FROM_ARRAY])(
               environment, file, length, options, &session));
}

static int make_tensor(void *memory, char *place, size_t size, const int64_t *shape, size_t rank, int type, void **tensor) {
    return failed(((status * (*)(void *, void *, size_t, const int64_t *, size_t, int, void **)) api[CREATE_TENSOR_WITH_DATA])(
        memory, place, size, shape, rank, type, tensor));
}

/* Gets ready; returns NULL, or why it can't. Sizes are in bytes; the types of elements are ONNX's numbers for them. */
const char *prepare(const void *file, size_t length, const int64_t *in_shape, size_t in_rank, size_t in_size, int in_type,
                    const int64_t *out_shape, size_t out_rank, size_t out_size, int out_type) {
    void *memory;
    api = OrtGetApiBase()->get_api(VERSION);
    if (!api || in_size > sizeof given || out_size > sizeof result)
        return "no such API, or a larger network than there is room for";
    input_size = in_size;
    output_size = out_size;
    if (open_session(file, length) ||
        failed(((status * (*)(int, int, void **)) api[CREATE_CPU_MEMORY_INFO])(DEVICE_ALLOCATOR, DEFAULT_MEMORY, &memory)) ||
        make_tensor(memory, given, in_size, in_shape, in_rank, in_type, &input) ||
        make_tensor(memory, result, out_size, out_shape, out_rank, out_type, &output))
        return message;
    return NULL;
}

typedef status *run(void *session, const void *options, const char *const *input_names, const void *const *inputs,
                    size_t inputs_count, const char *const *output_names, size_t outputs_count, void **outputs);

int64_t answer(const void *observation, void *action) {
    static const char *const input_names[] = {"x"}, *const output_names[] = {"action"};
    const void *inputs[] = {input};
    void *outputs[] = {output};
    memcpy(given, observation, input_size);
    if (failed(((run *)api[RUN])(session, NULL, input_names, inputs, 1, output_names, 1, outputs)))
        return 1;
    memcpy(action, result, output_size);
    return 0;
}
