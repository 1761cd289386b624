/* The phases as the gateway calls them, and what it offers, in the words of gateway.h. */
#include "gateway.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

/* A bit for each phase that plugin.yaml exports; `gateway plugin build` answers it. */
__attribute__((import_module("gateway-project"), import_name("exports"))) extern uint32_t gw_project_exports(void);

/* The plugin defines those that it needs; the others are NULL here. */
#pragma weak gw_on_request
#pragma weak gw_on_request_body
#pragma weak gw_on_request_body_error
#pragma weak gw_on_request_chunk
#pragma weak gw_on_response
#pragma weak gw_on_response_body
#pragma weak gw_on_response_body_error
#pragma weak gw_on_response_chunk
#pragma weak gw_on_message
#pragma weak gw_on_complete
#pragma weak gw_timers
#pragma weak gw_on_timer

const char gw_not_authentic[] = "the ciphertext is not authentic";

/* ---- Memory: whatever is handed out in a phase goes when it has ended. ---------------------------------------------------- */

typedef struct chunk {
    struct chunk *next;
    size_t used, size;
} chunk;

enum { CHUNK = 8 * 1024, PAGE = 64 * 1024, ALIGN = 16, PHASES = 9 };
static chunk *newest;

/* Free pages of memory, by address; neighbours are one block. Bodies are in pages and not in malloc's memory: an allocator may round
 * sizes up to powers of two and keep what is free by size, and then bodies of a few sizes take several times their bytes. */
typedef struct block {
    struct block *next;
    size_t size;
} block;
static block *spare;

static bool ends_memory(const block *last) {
    return ((uintptr_t)last + last->size) / PAGE == __builtin_wasm_memory_size(0);
}

/* NULL if there is no more memory. The size is a multiple of PAGE. */
static void *take_pages(size_t size) {
    for (block **at = &spare; *at; at = &(*at)->next) {
        block *found = *at;
        if (found->size < size && ends_memory(found)) {
            if (__builtin_wasm_memory_grow(0, (size - found->size) / PAGE) == SIZE_MAX) return NULL;
            found->size = size;
        }
        if (found->size < size) continue;
        *at = found->next;
        if (found->size > size) {
            block *rest = (block *)((char *)found + size);
            *rest = (block){.next = *at, .size = found->size - size};
            *at = rest;
        }
        return found;
    }
    size_t pages = __builtin_wasm_memory_grow(0, size / PAGE);
    return pages == SIZE_MAX ? NULL : (void *)(pages * PAGE);
}

static void give_back_pages(void *start, size_t size) {
    block *given = start, *before = NULL, *after = spare;
    while (after && after < given) {
        before = after;
        after = after->next;
    }
    *given = (block){.next = after, .size = size};
    if (after && (char *)given + size == (char *)after) *given = (block){.next = after->next, .size = size + after->size};
    if (!before) spare = given;
    else if ((char *)before + before->size == (char *)given) *before = (block){.next = given->next, .size = before->size + given->size};
    else before->next = given;
}
/* The phase has ended. What it returns is still being read, so its memory goes when the next one wants some. */
static bool over;

/* Close what a phase has left open; NULL until it opens something, so that a component imports only the interfaces that it uses. */
static void (*cancel_pending_calls)(void), (*close_connections)(void);

static void phase_ended(void) {
    if (cancel_pending_calls) cancel_pending_calls();
    if (close_connections) close_connections();
    over = true;
}

static void forget(void) {
    while (newest && (newest->next || newest->size > CHUNK)) {
        chunk *next = newest->next;
        size_t all = sizeof *newest + ALIGN + newest->size;
        if (all < PAGE) free(newest);
        else give_back_pages(newest, all);
        newest = next;
    }
    if (newest) newest->used = 0;
    over = false;
}

static void *take(size_t bytes) {
    if (over) forget();
    if (bytes > SIZE_MAX / 2) abort();
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!newest || bytes > newest->size - newest->used) {
        size_t size = bytes > CHUNK ? bytes : CHUNK;
        size_t all = sizeof(chunk) + ALIGN + size;
        if (all >= PAGE) all = (all + PAGE - 1) & ~(size_t)(PAGE - 1);
        size = all - sizeof(chunk) - ALIGN;
        chunk *more = all < PAGE ? malloc(all) : take_pages(all);
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
static plugin_string_t string_of(const uint8_t *from, size_t length) {
    size_t valid = 0, next;
    while (valid < length && (next = gw_sequence(from + valid))) valid += next;
    if (valid == length) return (plugin_string_t){(uint8_t *)from, length};
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

static plugin_string_t string(const char *text) {
    return string_of((const uint8_t *)text, text ? strlen(text) : 0);
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

/* As `bytes`, with a pointer that is not NULL and can be read as an empty text if there are none. */
static gw_bytes present(plugin_list_u8_t list) {
    return list.len ? bytes(list) : (gw_bytes){(const uint8_t *)"", 0};
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

gw_error gw_edits_apply(gw_edits edits, gw_request request, const gw_response *response, const char *const *values, size_t count) {
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
    bool done = gateway_plugin_http_method_edits_apply(gateway_plugin_http_borrow_edits(edits.handle), request.handle,
        response ? &lent : NULL, &given, &error);
    if (done) return NULL;
    return refused(false, error.error, gw_format("edit %u of the list", (unsigned)error.index));
}

/* ---- Deciding ------------------------------------------------------------------------------------------------------------ */

gw_decision gw_respond(gw_reply reply) {
    return (gw_decision){.kind = GW_ANSWER, .reply = reply};
}

gw_decision gw_stream_body(gw_bytes state) {
    return (gw_decision){.kind = GW_STREAM, .state = state};
}

gw_decision gw_stream_messages(gw_bytes state) {
    return (gw_decision){.kind = GW_MESSAGES, .state = state};
}

gw_decision gw_fail(gw_error error) {
    return (gw_decision){.kind = GW_FAIL, .error = error ? error : "it failed"};
}

gw_decision gw_problem(uint16_t status, const char *detail) {
    static const gw_header_line headers[] = {{"content-type", "application/problem+json"}};
    const char *body = gw_format("{\"status\":%u,\"detail\":%s}", status, gw_json_text(detail));
    return gw_respond((gw_reply){.status = status, .headers = headers, .header_count = 1, .body = gw_bytes_of(body)});
}

static gateway_plugin_http_fields_t fields(const gw_header_line *lines, size_t count) {
    gateway_plugin_http_fields_t made = {gw_alloc((count ? count : 1) * sizeof *made.ptr), count};
    for (size_t i = 0; i < count; i++) {
        made.ptr[i] = (plugin_tuple2_string_list_u8_t){string(lines[i].name), value(lines[i].value)};
    }
    return made;
}

static const gw_header_line *lines_of(gateway_plugin_http_fields_t fields) {
    gw_header_line *lines = gw_alloc((fields.len + 1) * sizeof *lines);
    for (size_t i = 0; i < fields.len; i++) {
        lines[i] = (gw_header_line){text(fields.ptr[i].f0), text_of(fields.ptr[i].f1)};
    }
    return lines;
}

static bool decided(gw_decision decision, gateway_plugin_http_decision_t *ret, plugin_string_t *err) {
    switch (decision.kind) {
    case GW_GO_ON: ret->tag = GATEWAY_PLUGIN_HTTP_DECISION_NEXT; return true;
    case GW_ANSWER:
        ret->tag = GATEWAY_PLUGIN_HTTP_DECISION_RESPOND;
        ret->val.respond.status = decision.reply.status;
        ret->val.respond.headers = fields(decision.reply.headers, decision.reply.header_count);
        ret->val.respond.body = list(decision.reply.body);
        return true;
    case GW_READ: ret->tag = GATEWAY_PLUGIN_HTTP_DECISION_READ_BODY; return true;
    case GW_STREAM:
        ret->tag = GATEWAY_PLUGIN_HTTP_DECISION_STREAM_BODY;
        ret->val.stream_body = list(decision.state);
        return true;
    case GW_MESSAGES: *err = string("messages are asked for in the response phase"); return false;
    default: *err = string(decision.error); return false;
    }
}

static bool response_decided(gw_decision decision, gateway_plugin_http_response_decision_t *ret, plugin_string_t *err) {
    switch (decision.kind) {
    case GW_GO_ON: ret->tag = GATEWAY_PLUGIN_HTTP_RESPONSE_DECISION_NEXT; return true;
    case GW_READ: ret->tag = GATEWAY_PLUGIN_HTTP_RESPONSE_DECISION_READ_BODY; return true;
    case GW_STREAM:
        ret->tag = GATEWAY_PLUGIN_HTTP_RESPONSE_DECISION_STREAM_BODY;
        ret->val.stream_body = list(decision.state);
        return true;
    case GW_MESSAGES:
        ret->tag = GATEWAY_PLUGIN_HTTP_RESPONSE_DECISION_STREAM_MESSAGES;
        ret->val.stream_messages = list(decision.state);
        return true;
    case GW_ANSWER: *err = string("a plugin cannot respond in the response phase"); return false;
    default: *err = string(decision.error); return false;
    }
}

static gw_decision once(gw_decision decision, const char *function) {
    if (decision.kind != GW_READ) return decision;
    return gw_fail(gw_format("%s returned GW_READ_BODY: the body has been read already", function));
}

static gw_body_error body_error(gateway_plugin_bodies_body_error_t error) {
    gw_body_error made = {.kind = error.tag < GW_BODY_OTHER ? error.tag : GW_BODY_OTHER};
    switch (error.tag) {
    case GATEWAY_PLUGIN_BODIES_BODY_ERROR_TOO_LARGE:
        made.limit = error.val.too_large;
        made.message = gw_format("the body is larger than %llu bytes", (unsigned long long)made.limit);
        break;
    case GATEWAY_PLUGIN_BODIES_BODY_ERROR_INTERRUPTED:
        made.message = gw_format("the body was interrupted: %s", text(error.val.interrupted));
        break;
    case GATEWAY_PLUGIN_BODIES_BODY_ERROR_INVALID: made.message = gw_format("the body is invalid: %s", text(error.val.invalid)); break;
    case GATEWAY_PLUGIN_BODIES_BODY_ERROR_UNAVAILABLE: made.message = "the body is not available in this phase"; break;
    default: made.message = gw_format("the body is not available: %s", text(error.val.other));
    }
    return made;
}

static gw_body body_of(gateway_plugin_bodies_body_t body) {
    return (gw_body){bytes(body.bytes), lines_of(body.trailers), body.trailers.len};
}

/* The rule for a request body that could not be read, in the SDKs of all languages. */
static gw_decision unread(gw_body_error error) {
    switch (error.kind) {
    case GW_BODY_TOO_LARGE:
        return gw_problem(413, gw_format("the request body is larger than %llu bytes", (unsigned long long)error.limit));
    case GW_BODY_INTERRUPTED:
    case GW_BODY_INVALID: return gw_problem(400, "the request body is incomplete or invalid");
    default: return gw_fail(error.message);
    }
}

bool exports_gateway_plugin_request_filter_on_request(exports_gateway_plugin_request_filter_borrow_request_t request,
    exports_gateway_plugin_request_filter_decision_t *ret, plugin_string_t *err) {
    gw_decision decision = gw_on_request((gw_request){request});
    gateway_plugin_http_request_drop_borrow(request);
    bool done = decided(decision, ret, err);
    phase_ended();
    return done;
}

bool exports_gateway_plugin_request_body_filter_on_request_body(exports_gateway_plugin_request_body_filter_borrow_request_t handle,
    exports_gateway_plugin_request_body_filter_result_body_body_error_t *body,
    exports_gateway_plugin_request_body_filter_decision_t *ret, plugin_string_t *err) {
    gw_request request = {handle};
    gw_decision decision;
    if (!body->is_err) {
        decision = gw_on_request_body(request, body_of(body->val.ok));
    } else if (gw_on_request_body_error) {
        decision = gw_on_request_body_error(request, body_error(body->val.err));
    } else {
        decision = unread(body_error(body->val.err));
    }
    gateway_plugin_http_request_drop_borrow(handle);
    bool done = decided(once(decision, "gw_on_request_body"), ret, err);
    phase_ended();
    return done;
}

bool exports_gateway_plugin_response_filter_on_response(exports_gateway_plugin_response_filter_borrow_request_t request,
    exports_gateway_plugin_response_filter_borrow_response_t response,
    exports_gateway_plugin_response_filter_response_decision_t *ret, plugin_string_t *err) {
    gw_decision decision = gw_on_response((gw_request){request}, (gw_response){response});
    gateway_plugin_http_request_drop_borrow(request);
    gateway_plugin_http_response_drop_borrow(response);
    bool done = response_decided(decision, ret, err);
    phase_ended();
    return done;
}

bool exports_gateway_plugin_response_body_filter_on_response_body(exports_gateway_plugin_response_body_filter_borrow_request_t lent,
    exports_gateway_plugin_response_body_filter_borrow_response_t handle,
    exports_gateway_plugin_response_body_filter_result_body_body_error_t *body,
    exports_gateway_plugin_response_body_filter_response_decision_t *ret, plugin_string_t *err) {
    gw_request request = {lent};
    gw_response response = {handle};
    gw_decision decision;
    if (!body->is_err) {
        decision = gw_on_response_body(request, response, body_of(body->val.ok));
    } else if (gw_on_response_body_error) {
        decision = gw_on_response_body_error(request, response, body_error(body->val.err));
    } else {
        decision = gw_fail(body_error(body->val.err).message);
    }
    gateway_plugin_http_request_drop_borrow(lent);
    gateway_plugin_http_response_drop_borrow(handle);
    bool done = response_decided(once(decision, "gw_on_response_body"), ret, err);
    phase_ended();
    return done;
}

/* A chunk is passed through a function of the plugin. */
static bool passed(gw_error (*function)(const gw_chunk *, gw_chunk_result *), gateway_plugin_bodies_chunk_t *given,
    gateway_plugin_bodies_chunk_result_t *ret, plugin_string_t *err) {
    gw_chunk chunk = {.state = bytes(given->state), .bytes = bytes(given->bytes), .end = given->end.is_some};
    if (chunk.end) {
        chunk.trailers = lines_of(given->end.val);
        chunk.trailer_count = given->end.val.len;
    }
    gw_chunk_result result = {0};
    gw_error error = function(&chunk, &result);
    if (error) {
        *err = string(error);
    } else {
        ret->consumed = (uint32_t)result.consumed;
        ret->output = list(result.output);
        ret->min_bytes = (uint32_t)result.min_bytes;
        ret->state.is_some = result.state.data != NULL;
        ret->state.val = list(result.state);
        ret->trailers = fields(result.trailers, result.trailer_count);
    }
    phase_ended();
    return !error;
}

bool exports_gateway_plugin_request_stream_on_request_chunk(exports_gateway_plugin_request_stream_chunk_t *chunk,
    exports_gateway_plugin_request_stream_chunk_result_t *ret, plugin_string_t *err) {
    return passed(gw_on_request_chunk, chunk, ret, err);
}

bool exports_gateway_plugin_response_stream_on_response_chunk(exports_gateway_plugin_response_stream_chunk_t *chunk,
    exports_gateway_plugin_response_stream_chunk_result_t *ret, plugin_string_t *err) {
    return passed(gw_on_response_chunk, chunk, ret, err);
}

static void sent(const gw_message *messages, size_t count, exports_gateway_plugin_message_filter_list_message_t *ret) {
    ret->ptr = gw_alloc((count ? count : 1) * sizeof *ret->ptr);
    ret->len = count;
    for (size_t i = 0; i < count; i++) {
        exports_gateway_plugin_message_filter_message_t *to = ret->ptr + i;
        gw_bytes given = messages[i].bytes;
        /* A character's bytes are looked for up to a NUL, which not all bytes have behind them. */
        plugin_string_t text = {0};
        if (messages[i].kind != GW_BINARY_MESSAGE) text = string_of((const uint8_t *)gw_text_of(given), given.length);
        switch (messages[i].kind) {
        case GW_TEXT_MESSAGE:
            to->tag = EXPORTS_GATEWAY_PLUGIN_MESSAGE_FILTER_MESSAGE_TEXT;
            to->val.text = text;
            break;
        case GW_BINARY_MESSAGE:
            to->tag = EXPORTS_GATEWAY_PLUGIN_MESSAGE_FILTER_MESSAGE_BINARY;
            to->val.binary = list(given);
            break;
        default:
            to->tag = EXPORTS_GATEWAY_PLUGIN_MESSAGE_FILTER_MESSAGE_EVENT;
            to->val.event.id.is_some = messages[i].id != NULL;
            to->val.event.id.val = string(messages[i].id);
            to->val.event.name.is_some = messages[i].name != NULL;
            to->val.event.name.val = string(messages[i].name);
            to->val.event.data = text;
        }
    }
}

bool exports_gateway_plugin_message_filter_on_message(exports_gateway_plugin_message_filter_sender_t sender,
    exports_gateway_plugin_message_filter_message_t *given, plugin_list_u8_t *state,
    exports_gateway_plugin_message_filter_message_result_t *ret, plugin_string_t *err) {
    gw_message message = {0};
    switch (given->tag) {
    case EXPORTS_GATEWAY_PLUGIN_MESSAGE_FILTER_MESSAGE_TEXT:
        message.kind = GW_TEXT_MESSAGE;
        message.bytes = (gw_bytes){given->val.text.ptr, given->val.text.len};
        break;
    case EXPORTS_GATEWAY_PLUGIN_MESSAGE_FILTER_MESSAGE_BINARY:
        message.kind = GW_BINARY_MESSAGE;
        message.bytes = bytes(given->val.binary);
        break;
    default:
        message.kind = GW_EVENT;
        message.bytes = (gw_bytes){given->val.event.data.ptr, given->val.event.data.len};
        if (given->val.event.id.is_some) message.id = text(given->val.event.id.val);
        if (given->val.event.name.is_some) message.name = text(given->val.event.name.val);
    }
    gw_message_result result = {0};
    gw_error error = gw_on_message(&message, (gw_sender)sender, bytes(*state), &result);
    if (error) {
        *err = string(error);
    } else {
        ret->output.is_some = result.replaced;
        sent(result.output, result.output_count, &ret->output.val);
        sent(result.replies, result.reply_count, &ret->replies);
        ret->close.is_some = result.close_code != 0;
        ret->close.val.code = result.close_code;
        ret->close.val.reason = string(result.close_reason);
        ret->state.is_some = result.state.data != NULL;
        ret->state.val = list(result.state);
    }
    phase_ended();
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
        .request_stream_state = outcome->request_stream_state.is_some ? bytes(outcome->request_stream_state.val) : (gw_bytes){0},
        .response_stream_state = outcome->response_stream_state.is_some ? bytes(outcome->response_stream_state.val) : (gw_bytes){0},
        .message_state = outcome->message_state.is_some ? bytes(outcome->message_state.val) : (gw_bytes){0},
    };
    gw_on_complete((gw_request){request}, maybe_response ? &response : NULL, &told);
    gateway_plugin_http_request_drop_borrow(request);
    if (maybe_response) gateway_plugin_http_response_drop_borrow(*maybe_response);
    phase_ended();
}

void exports_gateway_plugin_timers_timers(exports_gateway_plugin_timers_list_timer_t *ret) {
    gw_timer_list timers = gw_timers();
    ret->ptr = gw_alloc((timers.count + 1) * sizeof *ret->ptr);
    ret->len = timers.count;
    for (size_t i = 0; i < timers.count; i++) {
        ret->ptr[i] = (exports_gateway_plugin_timers_timer_t){string(timers.items[i].name), timers.items[i].interval_ms};
    }
    phase_ended();
}

bool exports_gateway_plugin_timers_on_timer(plugin_string_t *name, plugin_string_t *err) {
    gw_error error = gw_on_timer(text(*name));
    if (error) *err = string(error);
    phase_ended();
    return !error;
}

/* ---- The plugin's life --------------------------------------------------------------------------------------------------- */

void exports_gateway_plugin_lifecycle_describe(exports_gateway_plugin_lifecycle_manifest_t *ret) {
    ret->name = string(gateway_plugin.name);
    ret->version = string(gateway_plugin.version);
    ret->description = string(gateway_plugin.description);
    ret->config_schema = string(gw_schema(&gateway_plugin));
    phase_ended();
}

/* Each function of the plugin needs its export in plugin.yaml, and the other way round. Returns how many problems there are. */
static size_t misplaced(exports_gateway_plugin_lifecycle_config_problem_t *problems) {
    const struct {
        const char *function, *export;
        bool is_defined;
        /* Of `exports`. */
        unsigned bit;
    } phases[] = {
        {"gw_on_request", "request-filter", gw_on_request, 0},
        {"gw_on_request_body", "request-body-filter", gw_on_request_body, 1},
        {"gw_on_request_chunk", "request-stream", gw_on_request_chunk, 2},
        {"gw_on_response", "response-filter", gw_on_response, 3},
        {"gw_on_response_body", "response-body-filter", gw_on_response_body, 4},
        {"gw_on_response_chunk", "response-stream", gw_on_response_chunk, 5},
        {"gw_on_complete", "observer", gw_on_complete, 6},
        {"gw_on_message", "message-filter", gw_on_message, 7},
        {"gw_on_timer", "timers", gw_on_timer, 8},
    };
    uint32_t exports = gw_project_exports();
    size_t count = 0;
    for (size_t i = 0; i < PHASES; i++) {
        bool is_exported = exports & (1u << phases[i].bit);
        if (is_exported == phases[i].is_defined) continue;
        const char *message = is_exported ? gw_format("plugin.yaml exports %s, but %s is not defined", phases[i].export, phases[i].function)
                                          : gw_format("%s is defined, but plugin.yaml does not export %s", phases[i].function, phases[i].export);
        problems[count++] = (exports_gateway_plugin_lifecycle_config_problem_t){string(""), string(message)};
    }
    const char *lonely[] = {
        gw_on_timer && !gw_timers ? "gw_on_timer is defined, but gw_timers is not" : NULL,
        gw_timers && !gw_on_timer ? "gw_timers is defined, but gw_on_timer is not" : NULL,
        gw_on_request_body_error && !gw_on_request_body ? "gw_on_request_body_error is defined, but gw_on_request_body is not" : NULL,
        gw_on_response_body_error && !gw_on_response_body ? "gw_on_response_body_error is defined, but gw_on_response_body is not" : NULL,
    };
    for (size_t i = 0; i < sizeof lonely / sizeof *lonely; i++) {
        if (lonely[i]) problems[count++] = (exports_gateway_plugin_lifecycle_config_problem_t){string(""), string(lonely[i])};
    }
    return count;
}

bool exports_gateway_plugin_lifecycle_configure(plugin_string_t *config_json,
    exports_gateway_plugin_lifecycle_list_config_problem_t *err) {
    err->ptr = gw_alloc((PHASES + 5) * sizeof *err->ptr);
    gw_configure(&gateway_plugin, text(*config_json));
    gw_problem_at problem = {0};
    if (gateway_plugin.start) problem = gateway_plugin.start();
    err->len = misplaced(err->ptr);
    if (problem.message) {
        err->ptr[err->len++] = (exports_gateway_plugin_lifecycle_config_problem_t){string(problem.pointer), string(problem.message)};
    }
    bool done = err->len == 0;
    /* What was configured stays. */
    newest = NULL;
    return done;
}

/* Not exported unless a plugin says so, and it defines them then. */
__attribute__((weak)) exports_gateway_plugin_active_phases_phase_set_t exports_gateway_plugin_active_phases_phases(void) {
    return 7;
}
__attribute__((weak)) void exports_gateway_plugin_catalogue_endpoints(exports_gateway_plugin_catalogue_list_endpoint_t *ret) {
    ret->len = 0;
}
__attribute__((weak)) void exports_gateway_plugin_catalogue_openapi(plugin_string_t *ret) {
    *ret = string("");
}

/* ---- Bodies -------------------------------------------------------------------------------------------------------------- */

gw_body gw_body_of(const char *text) {
    return (gw_body){.bytes = gw_bytes_of(text)};
}

const char *gw_text_of(gw_bytes bytes) {
    char *text = gw_alloc(bytes.length + 1);
    if (bytes.length) memcpy(text, bytes.data, bytes.length);
    return text;
}

static gateway_plugin_bodies_body_t replacement(gw_body body) {
    return (gateway_plugin_bodies_body_t){list(body.bytes), fields(body.trailers, body.trailer_count)};
}

gw_error gw_replace_body(gw_request request, gw_body body) {
    gateway_plugin_bodies_body_t wanted = replacement(body);
    gateway_plugin_bodies_body_error_t error;
    return gateway_plugin_bodies_replace_request(request.handle, &wanted, &error) ? NULL : body_error(error).message;
}

gw_error gw_replace_response_body(gw_response response, gw_body body) {
    gateway_plugin_bodies_body_t wanted = replacement(body);
    gateway_plugin_bodies_body_error_t error;
    return gateway_plugin_bodies_replace_response(response.handle, &wanted, &error) ? NULL : body_error(error).message;
}

/* ---- State --------------------------------------------------------------------------------------------------------------- */

static gw_error not_stored(gateway_plugin_store_store_error_t error) {
    switch (error.tag) {
    case GATEWAY_PLUGIN_STORE_STORE_ERROR_DENIED: return gw_format("the bucket is not granted: %s", text(error.val.denied));
    case GATEWAY_PLUGIN_STORE_STORE_ERROR_TOO_LARGE: return "the key or the value is too large, or it is no number";
    case GATEWAY_PLUGIN_STORE_STORE_ERROR_UNAVAILABLE: return gw_format("the store is not available: %s", text(error.val.unavailable));
    default: return gw_format("the store failed: %s", text(error.val.other));
    }
}

gw_error gw_store_get(const char *bucket, const char *key, gw_bytes *value) {
    plugin_string_t place = string(bucket), name = string(key);
    plugin_option_list_u8_t got;
    gateway_plugin_store_store_error_t error;
    if (!gateway_plugin_store_get(&place, &name, &got, &error)) return not_stored(error);
    *value = got.is_some ? present(got.val) : (gw_bytes){0};
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

static gateway_plugin_http_client_call_t lowered_call(gw_call call) {
    return (gateway_plugin_http_client_call_t){
        .upstream = string(call.upstream),
        .method = string(call.method),
        .path_with_query = string(call.path_with_query),
        .headers = fields(call.headers, call.header_count),
        .body = list(call.body),
        .timeout_ms = call.timeout_ms,
    };
}

static gw_error not_called(gateway_plugin_http_client_call_error_t error) {
    switch (error.tag) {
    case GATEWAY_PLUGIN_HTTP_CLIENT_CALL_ERROR_DENIED: return gw_format("the upstream is not granted: %s", text(error.val.denied));
    case GATEWAY_PLUGIN_HTTP_CLIENT_CALL_ERROR_INVALID: return gw_format("the call is not valid: %s", text(error.val.invalid));
    case GATEWAY_PLUGIN_HTTP_CLIENT_CALL_ERROR_TIMEOUT: return "the upstream did not answer in time";
    case GATEWAY_PLUGIN_HTTP_CLIENT_CALL_ERROR_UNREACHABLE:
        return gw_format("the upstream cannot be reached: %s", text(error.val.unreachable));
    case GATEWAY_PLUGIN_HTTP_CLIENT_CALL_ERROR_TOO_LARGE: return "the response is over the limit";
    default: return gw_format("the call failed: %s", text(error.val.other));
    }
}

static gw_reply reply_of(gateway_plugin_http_client_reply_t got) {
    return (gw_reply){got.status, lines_of(got.headers), got.headers.len, bytes(got.body)};
}

gw_error gw_send(gw_call call, gw_reply *reply) {
    gateway_plugin_http_client_call_t made = lowered_call(call);
    gateway_plugin_http_client_reply_t got;
    gateway_plugin_http_client_call_error_t error;
    if (!gateway_plugin_http_client_send(&made, &got, &error)) return not_called(error);
    *reply = reply_of(got);
    return NULL;
}

#include "services.c"
