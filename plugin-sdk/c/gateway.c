/* The phases as the gateway calls them, and what it offers, in the words of gateway.h. */
#include "gateway.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

const char gw_later[] = "later";
const char gw_not_authentic[] = "the ciphertext is not authentic";

/* ---- Memory: whatever is handed out in a phase goes when it has ended. ---------------------------------------------------- */

typedef struct chunk {
    struct chunk *next;
    size_t used, size;
} chunk;

enum { CHUNK = 8 * 1024 };
static chunk *newest;
/* The phase has ended. What it returns is still being read, so its memory goes when the next one wants some. */
static bool over;

static void forget(void) {
    while (newest && (newest->next || newest->size > CHUNK)) {
        chunk *next = newest->next;
        free(newest);
        newest = next;
    }
    if (newest) newest->used = 0;
    over = false;
}

static void *take(size_t bytes) {
    enum { ALIGN = 16 };
    if (over) forget();
    if (bytes > SIZE_MAX / 2) abort();
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!newest || bytes > newest->size - newest->used) {
        size_t size = bytes > CHUNK ? bytes : CHUNK;
        chunk *more = malloc(sizeof *more + ALIGN + size);
        if (!more) abort();
        *more = (chunk){.next = newest, .size = size};
        newest = more;
    }
    char *start = (char *)(((uintptr_t)(newest + 1) + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
    char *taken = start + newest->used;
    newest->used += bytes;
    return taken;
}

/* What the gateway hands over: with a byte more, so that every text ends with a NUL. */
static void *handed(void *old, size_t old_size, size_t new_size) {
    char *made = take(new_size + 1);
    if (old_size) memcpy(made, old, old_size < new_size ? old_size : new_size);
    made[new_size] = 0;
    return made;
}

/* The bindings' memory is this file's. */
#define realloc(old, size) handed(old, old_size, size)
#define free(pointer) ((void)(pointer))
#include "wit/plugin.c"
#undef realloc
#undef free
/* `gateway plugin build` says what the component's type is: this stands for the object file that would. */
void __component_type_object_force_link_plugin(void) {
}

void *gw_alloc(size_t bytes) {
    return memset(take(bytes), 0, bytes);
}

const char *gw_format(const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = gw_alloc((size_t)(length < 0 ? 0 : length) + 1);
    if (length > 0) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

gw_bytes gw_bytes_of(const char *text) {
    return (gw_bytes){(const uint8_t *)text, strlen(text)};
}

/* What the gateway takes as text must be UTF-8, or the instance traps (component model, "string"). What comes from clients need not
 * be: each byte that is not UTF-8 becomes the character of its number (ISO 8859-1). Values of fields and bodies are bytes and stay
 * as they are. */
static plugin_string_t string(const char *text) {
    const uint8_t *from = (const uint8_t *)text;
    size_t length = text ? strlen(text) : 0, valid = 0, next;
    while (valid < length && (next = gw_sequence(from + valid))) valid += next;
    if (valid == length) return (plugin_string_t){(uint8_t *)text, length};
    uint8_t *made = gw_alloc(2 * length), *to = made;
    for (size_t at = 0; at < length; at += next) {
        next = gw_sequence(from + at);
        if (next) {
            memcpy(to, from + at, next);
            to += next;
        } else {
            to = gw_latin(to, from[at]);
            next = 1;
        }
    }
    return (plugin_string_t){made, (size_t)(to - made)};
}

static plugin_list_u8_t list(gw_bytes bytes) {
    return (plugin_list_u8_t){(uint8_t *)bytes.data, bytes.length};
}

static plugin_list_u8_t value(const char *text) {
    return list(gw_bytes_of(text));
}

static gw_bytes bytes(plugin_list_u8_t list) {
    return (gw_bytes){list.ptr, list.len};
}

/* Nothing is handed over for an empty one. */
static const char *text(plugin_string_t string) {
    return string.len ? (const char *)string.ptr : "";
}

static const char *text_of(plugin_list_u8_t list) {
    return list.len ? (const char *)list.ptr : "";
}

/* ---- The request and the response ---------------------------------------------------------------------------------------- */

#define TEXT(name, function)                         \
    const char *name(gw_request request) {           \
        plugin_string_t got;                         \
        function(request.handle, &got);              \
        return text(got);                            \
    }
TEXT(gw_id, gateway_plugin_http_method_request_id)
TEXT(gw_method, gateway_plugin_http_method_request_method)
TEXT(gw_scheme, gateway_plugin_http_method_request_scheme)
TEXT(gw_authority, gateway_plugin_http_method_request_authority)
TEXT(gw_path, gateway_plugin_http_method_request_path)
TEXT(gw_original_target, gateway_plugin_http_method_request_original_target)
TEXT(gw_protocol, gateway_plugin_http_method_request_protocol)
TEXT(gw_client_address, gateway_plugin_http_method_request_client_address)
TEXT(gw_route, gateway_plugin_http_method_request_route)

uint64_t gw_received_at(gw_request request) {
    return gateway_plugin_http_method_request_received_at(request.handle);
}

const char *gw_query(gw_request request) {
    plugin_string_t got;
    return gateway_plugin_http_method_request_query(request.handle, &got) ? text(got) : NULL;
}

const char *gw_path_parameter(gw_request request, const char *name) {
    plugin_string_t key = string(name), got;
    return gateway_plugin_http_method_request_path_parameter(request.handle, &key, &got) ? text(got) : NULL;
}

const char *gw_attribute(gw_request request, const char *name) {
    plugin_string_t key = string(name), got;
    return gateway_plugin_http_method_request_attribute(request.handle, &key, &got) ? text(got) : NULL;
}

const char *gw_header(gw_request request, const char *name) {
    plugin_string_t key = string(name);
    plugin_list_u8_t got;
    return gateway_plugin_http_method_request_header(request.handle, &key, &got) ? text_of(got) : NULL;
}

const char *gw_response_header(gw_response response, const char *name) {
    plugin_string_t key = string(name);
    plugin_list_u8_t got;
    return gateway_plugin_http_method_response_header(response.handle, &key, &got) ? text_of(got) : NULL;
}

static gw_texts texts(plugin_list_list_u8_t values) {
    gw_texts made = {0, gw_alloc((values.len + 1) * sizeof *made.items)};
    for (; made.count < values.len; made.count++) made.items[made.count] = text_of(values.ptr[made.count]);
    return made;
}

gw_texts gw_header_values(gw_request request, const char *name) {
    plugin_string_t key = string(name);
    plugin_list_list_u8_t got;
    gateway_plugin_http_method_request_header_values(request.handle, &key, &got);
    return texts(got);
}

gw_texts gw_response_header_values(gw_response response, const char *name) {
    plugin_string_t key = string(name);
    plugin_list_list_u8_t got;
    gateway_plugin_http_method_response_header_values(response.handle, &key, &got);
    return texts(got);
}

static gw_map named(gateway_plugin_http_fields_t fields) {
    gw_map made = {0, gw_alloc((fields.len + 1) * sizeof *made.names), gw_alloc((fields.len + 1) * sizeof *made.values)};
    for (; made.count < fields.len; made.count++) {
        made.names[made.count] = text(fields.ptr[made.count].f0);
        made.values[made.count] = text_of(fields.ptr[made.count].f1);
    }
    return made;
}

gw_map gw_headers(gw_request request) {
    gateway_plugin_http_fields_t got;
    gateway_plugin_http_method_request_headers(request.handle, &got);
    return named(got);
}

gw_map gw_response_headers(gw_response response) {
    gateway_plugin_http_fields_t got;
    gateway_plugin_http_method_response_headers(response.handle, &got);
    return named(got);
}

static gw_error refused(bool done, gateway_plugin_http_edit_error_t error, const char *what) {
    static const char *const why[] = {"is not valid", "is not the plugin's to change", "is over the gateway's limits"};
    return done ? NULL : gw_format("%s %s", what, why[error.tag < 3 ? error.tag : 0]);
}

#define EDIT(call, what)                     \
    gateway_plugin_http_edit_error_t error;  \
    bool done = call;                        \
    return refused(done, error, what)

gw_error gw_set_method(gw_request request, const char *method) {
    plugin_string_t wanted = string(method);
    EDIT(gateway_plugin_http_method_request_set_method(request.handle, &wanted, &error), "the method");
}

gw_error gw_set_path_with_query(gw_request request, const char *target) {
    plugin_string_t wanted = string(target);
    EDIT(gateway_plugin_http_method_request_set_path_with_query(request.handle, &wanted, &error), "the path");
}

gw_error gw_set_header(gw_request request, const char *name, const char *content) {
    plugin_string_t key = string(name);
    plugin_list_u8_t wanted = value(content);
    EDIT(gateway_plugin_http_method_request_set_header(request.handle, &key, &wanted, &error), name);
}

gw_error gw_append_header(gw_request request, const char *name, const char *content) {
    plugin_string_t key = string(name);
    plugin_list_u8_t wanted = value(content);
    EDIT(gateway_plugin_http_method_request_append_header(request.handle, &key, &wanted, &error), name);
}

gw_error gw_remove_header(gw_request request, const char *name) {
    plugin_string_t key = string(name);
    EDIT(gateway_plugin_http_method_request_remove_header(request.handle, &key, &error), name);
}

gw_error gw_set_attribute(gw_request request, const char *name, const char *content) {
    plugin_string_t key = string(name), wanted = string(content);
    EDIT(gateway_plugin_http_method_request_set_attribute(request.handle, &key, &wanted, &error), name);
}

gw_error gw_remove_attribute(gw_request request, const char *name) {
    plugin_string_t key = string(name);
    EDIT(gateway_plugin_http_method_request_remove_attribute(request.handle, &key, &error), name);
}

const char *gw_trace_parent(gw_request request) {
    plugin_string_t got;
    return gateway_plugin_http_method_request_trace_parent(request.handle, &got) ? text(got) : NULL;
}

uint16_t gw_status(gw_response response) {
    return gateway_plugin_http_method_response_status(response.handle);
}

gw_error gw_set_status(gw_response response, uint16_t status) {
    EDIT(gateway_plugin_http_method_response_set_status(response.handle, status, &error), "the status");
}

gw_error gw_set_response_header(gw_response response, const char *name, const char *content) {
    plugin_string_t key = string(name);
    plugin_list_u8_t wanted = value(content);
    EDIT(gateway_plugin_http_method_response_set_header(response.handle, &key, &wanted, &error), name);
}

gw_error gw_append_response_header(gw_response response, const char *name, const char *content) {
    plugin_string_t key = string(name);
    plugin_list_u8_t wanted = value(content);
    EDIT(gateway_plugin_http_method_response_append_header(response.handle, &key, &wanted, &error), name);
}

gw_error gw_remove_response_header(gw_response response, const char *name) {
    plugin_string_t key = string(name);
    EDIT(gateway_plugin_http_method_response_remove_header(response.handle, &key, &error), name);
}

gw_edits gw_edits_new(const gw_edit *edits, size_t count) {
    gateway_plugin_http_list_edit_t made = {gw_alloc((count + 1) * sizeof *made.ptr), count};
    for (size_t i = 0; i < count; i++) {
        gateway_plugin_http_edit_t *edit = &made.ptr[i];
        edit->tag = (uint8_t)edits[i].deed;
        if (edits[i].deed == GW_REMOVE_HEADER || edits[i].deed == GW_REMOVE_RESPONSE_HEADER || edits[i].deed == GW_REMOVE_ATTRIBUTE) {
            edit->val.remove_header = string(edits[i].name);
            continue;
        }
        edit->val.set_header.name = string(edits[i].name);
        edit->val.set_header.value.is_some = edits[i].value != NULL;
        if (edits[i].value) edit->val.set_header.value.val = value(edits[i].value);
    }
    return (gw_edits){gateway_plugin_http_constructor_edits(&made)};
}

gw_error gw_edits_make(gw_edits edits, gw_request request, const gw_response *response, const char *const *values, size_t count) {
    gateway_plugin_http_values_t given = {0};
    given.lengths.ptr = gw_alloc((count + 1) * sizeof *given.lengths.ptr);
    given.lengths.len = count;
    for (size_t i = 0; i < count; i++) given.bytes.len += values[i] ? strlen(values[i]) : 0;
    uint8_t *end = given.bytes.ptr = gw_alloc(given.bytes.len + 1);
    for (size_t i = 0; i < count; i++) {
        if (!values[i]) continue;
        size_t length = strlen(values[i]);
        given.lengths.ptr[i].is_some = true;
        given.lengths.ptr[i].val = (uint32_t)length;
        memcpy(end, values[i], length);
        end += length;
    }
    gateway_plugin_http_borrow_response_t lent;
    if (response) lent = response->handle;
    gateway_plugin_http_refused_edit_t error;
    bool done = gateway_plugin_http_method_edits_make(gateway_plugin_http_borrow_edits(edits.handle), request.handle,
        response ? &lent : NULL, &given, &error);
    if (done) return NULL;
    return refused(false, error.error, gw_format("edit %u of several", (unsigned)error.place));
}

/* ---- Deciding ------------------------------------------------------------------------------------------------------------ */

gw_decision gw_respond(gw_reply reply) {
    return (gw_decision){.kind = GW_ANSWER, .reply = reply};
}

gw_decision gw_fail(gw_error error) {
    return (gw_decision){.kind = GW_FAIL, .error = error ? error : "it failed"};
}

gw_decision gw_problem(uint16_t status, const char *detail) {
    static const gw_header_line headers[] = {{"content-type", "application/problem+json"}};
    const char *body = gw_format("{\"status\":%u,\"detail\":%s}", status, gw_json_text(detail));
    return gw_respond((gw_reply){.status = status, .headers = headers, .header_count = 1, .body = gw_bytes_of(body)});
}

__attribute__((weak)) gw_decision gw_on_request(gw_request request) {
    (void)request;
    return GW_NEXT;
}

__attribute__((weak)) gw_error gw_on_response(gw_request request, gw_response response) {
    (void)request, (void)response;
    return NULL;
}

__attribute__((weak)) void gw_on_complete(gw_request request, const gw_response *response, const gw_outcome *outcome) {
    (void)request, (void)response, (void)outcome;
}

static gateway_plugin_http_fields_t fields(const gw_header_line *lines, size_t count) {
    gateway_plugin_http_fields_t made = {gw_alloc((count ? count : 1) * sizeof *made.ptr), count};
    for (size_t i = 0; i < count; i++) {
        made.ptr[i] = (plugin_tuple2_string_list_u8_t){string(lines[i].name), value(lines[i].value)};
    }
    return made;
}

static bool decided(gw_decision decision, exports_gateway_plugin_request_filter_decision_t *ret, plugin_string_t *err) {
    switch (decision.kind) {
    case GW_GO_ON: ret->tag = EXPORTS_GATEWAY_PLUGIN_REQUEST_FILTER_DECISION_NEXT; return true;
    case GW_ANSWER:
        ret->tag = EXPORTS_GATEWAY_PLUGIN_REQUEST_FILTER_DECISION_RESPOND;
        ret->val.respond.status = decision.reply.status;
        ret->val.respond.headers = fields(decision.reply.headers, decision.reply.header_count);
        ret->val.respond.body = list(decision.reply.body);
        return true;
    default: *err = string(decision.error); return false;
    }
}

bool exports_gateway_plugin_request_filter_on_request(exports_gateway_plugin_request_filter_borrow_request_t request,
    exports_gateway_plugin_request_filter_decision_t *ret, plugin_string_t *err) {
    gw_decision decision = gw_on_request((gw_request){request});
    gateway_plugin_http_request_drop_borrow(request);
    bool done = decided(decision, ret, err);
    over = true;
    return done;
}

bool exports_gateway_plugin_response_filter_on_response(exports_gateway_plugin_response_filter_borrow_request_t request,
    exports_gateway_plugin_response_filter_borrow_response_t response, plugin_string_t *err) {
    gw_error error = gw_on_response((gw_request){request}, (gw_response){response});
    gateway_plugin_http_request_drop_borrow(request);
    gateway_plugin_http_response_drop_borrow(response);
    if (error) *err = string(error);
    over = true;
    return !error;
}

void exports_gateway_plugin_observer_on_complete(exports_gateway_plugin_observer_borrow_request_t request,
    exports_gateway_plugin_observer_borrow_response_t *maybe_response, exports_gateway_plugin_observer_outcome_t *outcome) {
    gw_response response;
    if (maybe_response) response.handle = *maybe_response;
    gw_outcome told = {
        .status = outcome->status.is_some ? outcome->status.val : 0,
        .failure = outcome->failure.is_some ? text(outcome->failure.val) : NULL,
        .upstream = outcome->upstream.is_some ? text(outcome->upstream.val) : NULL,
        .request_bytes = outcome->request_bytes,
        .response_bytes = outcome->response_bytes,
        .duration_us = outcome->duration_us,
        .upstream_us = outcome->upstream_us.is_some ? outcome->upstream_us.val : 0,
        .plugins_us = outcome->plugins_us,
    };
    gw_on_complete((gw_request){request}, maybe_response ? &response : NULL, &told);
    gateway_plugin_http_request_drop_borrow(request);
    if (maybe_response) gateway_plugin_http_response_drop_borrow(*maybe_response);
    over = true;
}

/* ---- The plugin's life --------------------------------------------------------------------------------------------------- */

void exports_gateway_plugin_lifecycle_describe(exports_gateway_plugin_lifecycle_manifest_t *ret) {
    ret->name = string(gateway_plugin.name);
    ret->version = string(gateway_plugin.version);
    ret->description = string(gateway_plugin.description);
    ret->config_schema = string(gw_schema(&gateway_plugin));
    over = true;
}

bool exports_gateway_plugin_lifecycle_configure(plugin_string_t *config_json,
    exports_gateway_plugin_lifecycle_list_config_problem_t *err) {
    gw_problem_at problem = {0};
    gw_configure(&gateway_plugin, text(*config_json));
    if (gateway_plugin.start) problem = gateway_plugin.start();
    if (problem.message) {
        err->ptr = gw_alloc(sizeof *err->ptr);
        err->len = 1;
        err->ptr->pointer = string(problem.pointer);
        err->ptr->message = string(problem.message);
    }
    /* What was configured stays. */
    newest = NULL;
    return !problem.message;
}

/* Not exported unless a plugin says so, and it defines them then. */
__attribute__((weak)) exports_gateway_plugin_attendance_phase_set_t exports_gateway_plugin_attendance_phases(void) {
    return 7;
}
__attribute__((weak)) void exports_gateway_plugin_catalogue_endpoints(exports_gateway_plugin_catalogue_list_endpoint_t *ret) {
    ret->len = 0;
}
__attribute__((weak)) void exports_gateway_plugin_catalogue_openapi(plugin_string_t *ret) {
    *ret = string("");
}
__attribute__((weak)) bool exports_gateway_plugin_response_stream_on_response_part(
    exports_gateway_plugin_response_stream_part_t *part, exports_gateway_plugin_response_stream_passage_t *ret,
    plugin_string_t *err) {
    (void)part, (void)ret;
    *err = string("the plugin does not follow bodies");
    return false;
}

/* ---- Bodies -------------------------------------------------------------------------------------------------------------- */

static gw_error interrupted(gateway_plugin_bodies_body_error_t error) {
    switch (error.tag) {
    case GATEWAY_PLUGIN_BODIES_BODY_ERROR_TOO_LARGE:
        return gw_format("the body is over the limit of %llu bytes", (unsigned long long)error.val.too_large);
    case GATEWAY_PLUGIN_BODIES_BODY_ERROR_INTERRUPTED: return gw_format("the body broke off: %s", text(error.val.interrupted));
    default: return "the body is not there in this phase";
    }
}

gw_error gw_read_body(gw_request request, gw_bytes *body) {
    plugin_list_u8_t got;
    gateway_plugin_bodies_body_error_t error;
    if (!gateway_plugin_bodies_read_request(request.handle, &got, &error)) return interrupted(error);
    *body = bytes(got);
    return NULL;
}

gw_error gw_replace_body(gw_request request, gw_bytes body) {
    plugin_list_u8_t wanted = list(body);
    gateway_plugin_bodies_body_error_t error;
    return gateway_plugin_bodies_replace_request(request.handle, &wanted, &error) ? NULL : interrupted(error);
}

gw_error gw_read_response_body(gw_response response, gw_bytes *body) {
    plugin_list_u8_t got;
    gateway_plugin_bodies_body_error_t error;
    if (!gateway_plugin_bodies_read_response(response.handle, &got, &error)) return interrupted(error);
    *body = bytes(got);
    return NULL;
}

gw_error gw_replace_response_body(gw_response response, gw_bytes body) {
    plugin_list_u8_t wanted = list(body);
    gateway_plugin_bodies_body_error_t error;
    return gateway_plugin_bodies_replace_response(response.handle, &wanted, &error) ? NULL : interrupted(error);
}

/* ---- State --------------------------------------------------------------------------------------------------------------- */

static gw_error not_stored(gateway_plugin_store_store_error_t error) {
    switch (error.tag) {
    case GATEWAY_PLUGIN_STORE_STORE_ERROR_DENIED: return gw_format("the bucket is not granted: %s", text(error.val.denied));
    case GATEWAY_PLUGIN_STORE_STORE_ERROR_TOO_LARGE: return "the key or the value is too large, or it is no number";
    case GATEWAY_PLUGIN_STORE_STORE_ERROR_LATER: return gw_later;
    default: return gw_format("the store is not available: %s", text(error.val.unavailable));
    }
}

gw_error gw_store_get(const char *bucket, const char *key, gw_bytes *value) {
    plugin_string_t place = string(bucket), name = string(key);
    plugin_option_list_u8_t got;
    gateway_plugin_store_store_error_t error;
    if (!gateway_plugin_store_get(&place, &name, &got, &error)) return not_stored(error);
    *value = got.is_some ? bytes(got.val) : (gw_bytes){0};
    return NULL;
}

gw_error gw_store_set(const char *bucket, const char *key, gw_bytes value, uint64_t ttl_ms) {
    plugin_string_t place = string(bucket), name = string(key);
    plugin_list_u8_t kept = list(value);
    gateway_plugin_store_store_error_t error;
    return gateway_plugin_store_set(&place, &name, &kept, ttl_ms ? &ttl_ms : NULL, &error) ? NULL : not_stored(error);
}

gw_error gw_store_delete(const char *bucket, const char *key) {
    plugin_string_t place = string(bucket), name = string(key);
    gateway_plugin_store_store_error_t error;
    return gateway_plugin_store_delete(&place, &name, &error) ? NULL : not_stored(error);
}

gw_error gw_store_increment(const char *bucket, const char *key, int64_t by, uint64_t ttl_ms, int64_t *sum) {
    plugin_string_t place = string(bucket), name = string(key);
    gateway_plugin_store_store_error_t error;
    bool done = gateway_plugin_store_increment(&place, &name, by, ttl_ms ? &ttl_ms : NULL, sum, &error);
    return done ? NULL : not_stored(error);
}

gw_error gw_store_take(const char *bucket, const char *key, gw_quota quota, uint32_t cost, gw_verdict *verdict) {
    plugin_string_t place = string(bucket), name = string(key);
    gateway_plugin_store_store_error_t error;
    return gateway_plugin_store_take(&place, &name, &quota, cost, verdict, &error) ? NULL : not_stored(error);
}

/* ---- Cryptography -------------------------------------------------------------------------------------------------------- */

static gateway_plugin_crypto_key_t lowered(gw_key key) {
    gateway_plugin_crypto_key_t made = {0};
    if (key.secret) {
        made.tag = GATEWAY_PLUGIN_CRYPTO_KEY_SECRET;
        made.val.secret = string(key.secret);
    } else {
        made.tag = GATEWAY_PLUGIN_CRYPTO_KEY_BYTES;
        made.val.bytes = list(key.bytes);
    }
    return made;
}

static gw_error not_computed(gateway_plugin_crypto_crypto_error_t error) {
    switch (error.tag) {
    case GATEWAY_PLUGIN_CRYPTO_CRYPTO_ERROR_DENIED: return gw_format("the secret is not granted: %s", text(error.val.denied));
    case GATEWAY_PLUGIN_CRYPTO_CRYPTO_ERROR_MISSING: return gw_format("the secret has no value: %s", text(error.val.missing));
    case GATEWAY_PLUGIN_CRYPTO_CRYPTO_ERROR_MALFORMED_KEY: return gw_format("malformed key: %s", text(error.val.malformed_key));
    case GATEWAY_PLUGIN_CRYPTO_CRYPTO_ERROR_UNSUPPORTED: return "the algorithm is not available";
    case GATEWAY_PLUGIN_CRYPTO_CRYPTO_ERROR_TOO_LARGE: return gw_format("over %llu bytes", (unsigned long long)error.val.too_large);
    case GATEWAY_PLUGIN_CRYPTO_CRYPTO_ERROR_NOT_AUTHENTIC: return gw_not_authentic;
    default: return text(error.val.other);
    }
}

#define COMPUTED(call, result)                        \
    plugin_list_u8_t got;                             \
    gateway_plugin_crypto_crypto_error_t error;       \
    if (!call) return not_computed(error);            \
    *result = bytes(got);                             \
    return NULL

gw_error gw_verify(gw_algorithm algorithm, gw_key key, gw_bytes message, gw_bytes signature, bool *valid) {
    gateway_plugin_crypto_key_t with = lowered(key);
    plugin_list_u8_t said = list(message), signed_by = list(signature);
    gateway_plugin_crypto_crypto_error_t error;
    bool done = gateway_plugin_crypto_verify((gateway_plugin_crypto_algorithm_t)algorithm, &with, &said, &signed_by, valid, &error);
    return done ? NULL : not_computed(error);
}

gw_error gw_sign(gw_algorithm algorithm, gw_key key, gw_bytes message, gw_bytes *signature) {
    gateway_plugin_crypto_key_t with = lowered(key);
    plugin_list_u8_t said = list(message);
    COMPUTED(gateway_plugin_crypto_sign((gateway_plugin_crypto_algorithm_t)algorithm, &with, &said, &got, &error), signature);
}

gw_error gw_encrypt(gw_cipher cipher, gw_key key, gw_bytes plaintext, gw_bytes associated_data, gw_bytes *ciphertext) {
    gateway_plugin_crypto_key_t with = lowered(key);
    plugin_list_u8_t given = list(plaintext), more = list(associated_data);
    COMPUTED(gateway_plugin_crypto_encrypt((gateway_plugin_crypto_cipher_t)cipher, &with, &given, &more, &got, &error), ciphertext);
}

gw_error gw_decrypt(gw_cipher cipher, gw_key key, gw_bytes ciphertext, gw_bytes associated_data, gw_bytes *plaintext) {
    gateway_plugin_crypto_key_t with = lowered(key);
    plugin_list_u8_t given = list(ciphertext), more = list(associated_data);
    COMPUTED(gateway_plugin_crypto_decrypt((gateway_plugin_crypto_cipher_t)cipher, &with, &given, &more, &got, &error), plaintext);
}

gw_error gw_derive_key(gw_hash hash, gw_key key, gw_bytes salt, gw_bytes info, uint32_t length, gw_bytes *derived) {
    gateway_plugin_crypto_key_t with = lowered(key);
    plugin_list_u8_t given = list(salt), more = list(info);
    COMPUTED(gateway_plugin_crypto_derive_key((gateway_plugin_crypto_hash_t)hash, &with, &given, &more, length, &got, &error), derived);
}

gw_error gw_digest(gw_hash hash, gw_bytes data, gw_bytes *digest) {
    plugin_list_u8_t given = list(data);
    COMPUTED(gateway_plugin_crypto_digest((gateway_plugin_crypto_hash_t)hash, &given, &got, &error), digest);
}

gw_error gw_random_bytes(uint32_t length, gw_bytes *random) {
    COMPUTED(gateway_plugin_crypto_random_bytes(length, &got, &error), random);
}

/* ---- Others -------------------------------------------------------------------------------------------------------------- */

void gw_log(gw_level level, const char *message) {
    plugin_string_t said = string(message);
    plugin_list_tuple2_string_string_t none = {NULL, 0};
    gateway_plugin_log_emit((gateway_plugin_log_level_t)level, &said, &none);
}

static gateway_plugin_metrics_labels_t labels(const gw_header_line *lines, size_t count) {
    gateway_plugin_metrics_labels_t made = {gw_alloc((count ? count : 1) * sizeof *made.ptr), count};
    for (size_t i = 0; i < count; i++) {
        made.ptr[i] = (plugin_tuple2_string_string_t){string(lines[i].name), string(lines[i].value)};
    }
    return made;
}

void gw_count(const char *counter, uint64_t by, const gw_header_line *lines, size_t count) {
    plugin_string_t name = string(counter);
    gateway_plugin_metrics_labels_t made = labels(lines, count);
    gateway_plugin_metrics_add(&name, by, &made);
}

void gw_observe(const char *histogram, double value, const gw_header_line *lines, size_t count) {
    plugin_string_t name = string(histogram);
    gateway_plugin_metrics_labels_t made = labels(lines, count);
    gateway_plugin_metrics_observe(&name, value, &made);
}

void gw_set_gauge(const char *gauge, double value, const gw_header_line *lines, size_t count) {
    plugin_string_t name = string(gauge);
    gateway_plugin_metrics_labels_t made = labels(lines, count);
    gateway_plugin_metrics_set_gauge(&name, value, &made);
}

void gw_add_to_gauge(const char *gauge, double by, const gw_header_line *lines, size_t count) {
    plugin_string_t name = string(gauge);
    gateway_plugin_metrics_labels_t made = labels(lines, count);
    gateway_plugin_metrics_add_to_gauge(&name, by, &made);
}

gw_error gw_secret(const char *name, gw_bytes *value) {
    plugin_string_t wanted = string(name);
    plugin_list_u8_t got;
    gateway_plugin_secrets_secret_error_t error;
    if (!gateway_plugin_secrets_get(&wanted, &got, &error)) return gw_format("there is no secret `%s`, or it is not granted", name);
    *value = bytes(got);
    return NULL;
}

gw_error gw_file(const char *name, gw_bytes *content) {
    plugin_string_t wanted = string(name);
    plugin_list_u8_t got;
    gateway_plugin_files_file_error_t error;
    if (!gateway_plugin_files_get(&wanted, &got, &error)) return gw_format("there is no file `%s`, or it is not granted", name);
    *content = bytes(got);
    return NULL;
}

gw_error gw_write_line(const char *sink, const char *line) {
    plugin_string_t wanted = string(sink);
    plugin_list_u8_t said = value(line);
    gateway_plugin_sinks_sink_error_t error;
    if (gateway_plugin_sinks_write(&wanted, &said, &error)) return NULL;
    return error.tag == GATEWAY_PLUGIN_SINKS_SINK_ERROR_DROPPED ? "the sink's buffer is full" : gw_format("the sink is not granted: %s", sink);
}

gw_error gw_send(gw_call call, gw_reply *reply) {
    gateway_plugin_http_client_call_t made = {
        .upstream = string(call.upstream),
        .method = string(call.method),
        .path_with_query = string(call.path_with_query),
        .headers = fields(call.headers, call.header_count),
        .body = list(call.body),
        .timeout_ms = call.timeout_ms,
    };
    gateway_plugin_http_client_reply_t got;
    gateway_plugin_http_client_call_error_t error;
    if (!gateway_plugin_http_client_send(&made, &got, &error)) {
        switch (error.tag) {
        case GATEWAY_PLUGIN_HTTP_CLIENT_CALL_ERROR_DENIED: return gw_format("the upstream is not granted: %s", text(error.val.denied));
        case GATEWAY_PLUGIN_HTTP_CLIENT_CALL_ERROR_INVALID: return gw_format("the call is not valid: %s", text(error.val.invalid));
        case GATEWAY_PLUGIN_HTTP_CLIENT_CALL_ERROR_TIMEOUT: return "the upstream did not answer in time";
        case GATEWAY_PLUGIN_HTTP_CLIENT_CALL_ERROR_UNREACHABLE:
            return gw_format("the upstream cannot be reached: %s", text(error.val.unreachable));
        default: return "the response is over the limit";
        }
    }
    gw_header_line *lines = gw_alloc((got.headers.len + 1) * sizeof *lines);
    for (size_t i = 0; i < got.headers.len; i++) {
        lines[i] = (gw_header_line){text(got.headers.ptr[i].f0), text_of(got.headers.ptr[i].f1)};
    }
    *reply = (gw_reply){got.status, lines, got.headers.len, bytes(got.body)};
    return NULL;
}
