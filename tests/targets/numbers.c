/* Numbers as the executable reads and writes them, for a test to call. */
#include "agent_json.h"

#include <math.h>
#include <string.h>

static bool take(const char *text, size_t length, json_kind kind, void *value) {
    const json_array array = {.place = "", .kind = kind, .finite = true, .rank = 0, .count = 1, .target = value};
    json_reader line;
    json_begin(&line, text, length, "");
    return json_take_array(&line, &array) && json_take_end(&line);
}

/* NaN if it is refused. A newline follows the text. */
float read_float(const char *text, size_t length) {
    float value;
    return take(text, length, JSON_FLOAT, &value) ? value : NAN;
}

double read_double(const char *text, size_t length) {
    double value;
    return take(text, length, JSON_DOUBLE, &value) ? value : NAN;
}

void written(double value, int digits, char *text) {
    json_writer writer = {text, text + 63};
    json_put_real(&writer, value, digits);
    *writer.at = 0;
}
