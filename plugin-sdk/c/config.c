#include "config.h"

#include <stdlib.h>
#include <string.h>

/* ---- Reading JSON: what the gateway hands over is valid, and is what the schema says. ------------------------------------- */

static const char *past_space(const char *at) {
    while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
    return at;
}

static unsigned hex(const char *at) {
    char digits[5] = {0};
    for (int i = 0; i < 4 && at[i]; i++) digits[i] = at[i];
    return (unsigned)strtoul(digits, NULL, 16);
}

static char *utf8(char *to, unsigned c) {
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6), *to++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *to++ = (char)(0xE0 | c >> 12), *to++ = (char)(0x80 | (c >> 6 & 0x3F)), *to++ = (char)(0x80 | (c & 0x3F));
    } else {
        *to++ = (char)(0xF0 | c >> 18), *to++ = (char)(0x80 | (c >> 12 & 0x3F));
        *to++ = (char)(0x80 | (c >> 6 & 0x3F)), *to++ = (char)(0x80 | (c & 0x3F));
    }
    return to;
}

/* A string's text, and what comes after it. */
static const char *read_text(const char *at, const char **text) {
    const char *end = ++at;
    while (*end && *end != '"') end += *end == '\\' && end[1] ? 2 : 1;
    char *made = gw_alloc((size_t)(end - at) + 1), *to = made;
    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        char kind = at[1];
        at += 2;
        if (kind == 'u') {
            unsigned c = hex(at);
            at += 4;
            if (c >= 0xD800 && c < 0xDC00 && at[0] == '\\' && at[1] == 'u') {
                c = 0x10000 + ((c - 0xD800) << 10) + (hex(at + 2) - 0xDC00);
                at += 6;
            }
            to = utf8(to, c);
        } else {
            static const char from[] = "bfnrt", meant[] = "\b\f\n\r\t";
            const char *found = strchr(from, kind);
            *to++ = found ? meant[found - from] : kind;
        }
    }
    *text = made;
    return *end ? end + 1 : end;
}

/* What comes after a value. */
static const char *past_value(const char *at) {
    const char *ignored;
    at = past_space(at);
    if (*at == '"') return read_text(at, &ignored);
    if (*at != '{' && *at != '[') {
        while (*at && !strchr(",]} \t\r\n", *at)) at++;
        return at;
    }
    for (int depth = 0; *at;) {
        if (*at == '"') {
            at = read_text(at, &ignored);
            continue;
        }
        if (*at == '{' || *at == '[') depth++;
        if (*at == '}' || *at == ']') depth--;
        at++;
        if (!depth) break;
    }
    return at;
}

/* The next member of an object, or the next element of an array with `name` NULL; NULL at its end. Begin at the bracket. */
static const char *next(const char *at, const char **name) {
    at = past_space(at + 1);
    if (!*at || *at == '}' || *at == ']') return NULL;
    if (name) at = past_space(read_text(at, name)) + 1;
    return past_space(at);
}

/* Where the next one begins: at the comma, or at the closing bracket. */
static const char *after(const char *value) {
    const char *at = past_space(past_value(value));
    return *at == ',' ? at : at - 1;
}

static size_t count(const char *list, bool named) {
    size_t count = 0;
    const char *name;
    for (const char *at = next(list, named ? &name : NULL); at; at = next(after(at), named ? &name : NULL)) count++;
    return count;
}

/* JSON may write a whole number with a fraction or an exponent: 1000.0, 1e18. */
static gw_integer integer(const char *json) {
    char *end;
    long long whole = strtoll(json, &end, 10);
    if (*end != '.' && *end != 'e' && *end != 'E') return whole;
    double number = strtod(json, NULL);
    if (number >= 0x1p63) return INT64_MAX;
    return number < -0x1p63 ? INT64_MIN : (gw_integer)number;
}

static void read(const gw_field *field, void *to, const char *json) {
    switch (field->kind) {
    case GW_IS_TEXT:
        if (*json == '"') read_text(json, to);
        break;
    case GW_IS_BOOLEAN: *(gw_boolean *)to = *json == 't'; break;
    case GW_IS_INTEGER: *(gw_integer *)to = integer(json); break;
    case GW_IS_NUMBER: *(gw_number *)to = strtod(json, NULL); break;
    case GW_IS_TEXTS: {
        gw_texts *texts = to;
        *texts = (gw_texts){0, gw_alloc((count(json, false) + 1) * sizeof *texts->items)};
        for (const char *at = next(json, NULL); at; at = next(after(at), NULL)) read_text(at, &texts->items[texts->count++]);
        break;
    }
    case GW_IS_MAP: {
        gw_map *map = to;
        size_t most = count(json, true) + 1;
        *map = (gw_map){0, gw_alloc(most * sizeof *map->names), gw_alloc(most * sizeof *map->values)};
        const char *name;
        for (const char *at = next(json, &name); at; at = next(after(at), &name)) {
            map->names[map->count] = name;
            read_text(at, &map->values[map->count++]);
        }
        break;
    }
    }
}

void gw_configure(const gw_plugin *plugin, const char *json) {
    for (size_t i = 0; i < plugin->field_count; i++) {
        const gw_field *field = &plugin->fields[i];
        void *to = (char *)plugin->config + field->offset;
        if (field->standard) read(field, to, field->standard);
        json = past_space(json);
        if (*json != '{') continue;
        const char *name;
        for (const char *at = next(json, &name); at; at = next(after(at), &name)) {
            if (strcmp(name, field->name) == 0) read(field, to, at);
        }
    }
}

const char *gw_map_get(const gw_map *map, const char *name) {
    for (size_t i = 0; name && i < map->count; i++) {
        if (strcmp(map->names[i], name) == 0) return map->values[i];
    }
    return NULL;
}

/* ---- Writing JSON ----------------------------------------------------------------------------------------------------------- */

size_t gw_sequence(const uint8_t *at) {
    uint8_t lead = at[0];
    if (lead < 0x80) return 1;
    size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (!length || at[1] < low || at[1] > high) return 0;
    for (size_t i = 2; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    return length;
}

uint8_t *gw_latin(uint8_t *to, uint8_t byte) {
    *to++ = (uint8_t)(0xc0 | byte >> 6);
    *to++ = (uint8_t)(0x80 | (byte & 0x3f));
    return to;
}

const char *gw_json_text(const char *text) {
    char *made = gw_alloc(strlen(text) * 6 + 3), *to = made;
    *to++ = '"';
    for (size_t next; *text; text += next) {
        unsigned char c = (unsigned char)*text;
        next = gw_sequence((const uint8_t *)text);
        if (c == '"' || c == '\\') {
            *to++ = '\\', *to++ = (char)c;
        } else if (c < 0x20) {
            static const char digits[] = "0123456789abcdef";
            memcpy(to, "\\u00", 4);
            to += 4;
            *to++ = digits[c >> 4], *to++ = digits[c & 15];
        } else if (next) {
            memcpy(to, text, next);
            to += next;
        } else {
            to = (char *)gw_latin((uint8_t *)to, c);
        }
        if (!next) next = 1;
    }
    *to++ = '"';
    return made;
}

const char *gw_schema(const gw_plugin *plugin) {
    if (!plugin->field_count) return "";
    static const char *const types[] = {
        [GW_IS_TEXT] = "\"type\":\"string\"",
        [GW_IS_BOOLEAN] = "\"type\":\"boolean\"",
        [GW_IS_INTEGER] = "\"type\":\"integer\",\"minimum\":-9223372036854775808,\"maximum\":9223372036854775807",
        [GW_IS_NUMBER] = "\"type\":\"number\"",
        [GW_IS_TEXTS] = "\"type\":\"array\",\"items\":{\"type\":\"string\"}",
        [GW_IS_MAP] = "\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}",
    };
    const char *properties = "", *required = "";
    for (size_t i = 0; i < plugin->field_count; i++) {
        const gw_field *field = &plugin->fields[i];
        const char *name = gw_json_text(field->name);
        const char *standard = field->standard ? gw_format(",\"default\":%s", field->standard) : "";
        properties = gw_format("%s%s%s:{%s,\"description\":%s%s}", properties, *properties ? "," : "", name,
            types[field->kind], gw_json_text(field->description), standard);
        if (!field->standard) required = gw_format("%s%s%s", required, *required ? "," : "", name);
    }
    return gw_format("{\"type\":\"object\",\"additionalProperties\":false,\"required\":[%s],\"properties\":{%s}}", required, properties);
}
