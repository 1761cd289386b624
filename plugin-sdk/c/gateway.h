/* Writes plugins for the gateway in C.
 *
 * A plugin is a `gw_plugin` named `gateway_plugin`, and a function for each phase that it takes part in. `exports` in plugin.yaml
 * names the same phases. A function without its export, or an export without its function, is an error when the plugin is configured.
 *
 *     function               export
 *     gw_on_request          request-filter
 *     gw_on_request_body     request-body-filter
 *     gw_on_request_chunk    request-stream
 *     gw_on_response         response-filter
 *     gw_on_response_body    response-body-filter
 *     gw_on_response_chunk   response-stream
 *     gw_on_message          message-filter
 *     gw_on_complete         observer
 *     gw_on_timer            timers
 *
 * Memory: what these functions give, and what `gw_alloc` and `gw_format` make, is there until the phase has ended, and is never
 * freed by hand. Texts end with a NUL. Configuration is there as long as the instance. One call at a time runs in an instance.
 *
 * What is not here (cache, active-phases, catalogue) is in `wit/plugin.h` as wit-bindgen makes it; `request.handle` and
 * `response.handle` are what it wants. `gw_decision` has no `await-release`. The exports `active-phases` and `catalogue`
 * have weak definitions, which a plugin replaces by its own.
 */
#ifndef GATEWAY_H
#define GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wit/plugin.h"

/* What went wrong, for people; NULL if nothing did. */
typedef const char *gw_error;

typedef struct {
    const uint8_t *data;
    size_t length;
} gw_bytes;

typedef struct {
    gateway_plugin_http_borrow_request_t handle;
} gw_request;
typedef struct {
    gateway_plugin_http_borrow_response_t handle;
} gw_response;

/* ---- Configuration ------------------------------------------------------------------------------------------------------
 *
 * One list is the fields of a struct `gw_config`, their JSON Schema, and how they are read:
 *
 *     #define CONFIG(FIELD)                                                                                  \
 *         FIELD(gw_text, greeting, "greeting", "\"hello\"", "What comes before the client's name.")          \
 *         FIELD(gw_texts, names, "names", GW_REQUIRED, "Who is greeted.")
 *     GW_CONFIG(CONFIG)
 *
 * A field has a type, its name in C, its name in YAML, its default as JSON or GW_REQUIRED, and what it is about. The gateway
 * has checked the YAML against the schema when the plugin gets it.
 */

/* A text; `GW_REQUIRED` or a default in quotes within the quotes. */
typedef const char *gw_text;
typedef bool gw_boolean;
typedef int64_t gw_integer;
typedef double gw_number;
typedef struct {
    size_t count;
    const char **items;
} gw_texts;
/* Texts by names, in the order of the YAML; see `gw_map_get`. */
typedef struct {
    size_t count;
    const char **names;
    const char **values;
} gw_map;

/* The value of a name; NULL if there is none. */
const char *gw_map_get(const gw_map *map, const char *name);

#define GW_REQUIRED NULL

typedef enum { GW_IS_TEXT, GW_IS_BOOLEAN, GW_IS_INTEGER, GW_IS_NUMBER, GW_IS_TEXTS, GW_IS_MAP } gw_kind;
typedef struct {
    gw_kind kind;
    size_t offset;
    const char *name;
    const char *standard;
    const char *description;
} gw_field;

#define GW_KIND(type)                                                                                                    \
    _Generic((type){0}, gw_text: GW_IS_TEXT, gw_boolean: GW_IS_BOOLEAN, gw_integer: GW_IS_INTEGER, gw_number: GW_IS_NUMBER, \
        gw_texts: GW_IS_TEXTS, gw_map: GW_IS_MAP)
#define GW_MEMBER(type, member, name, standard, description) type member;
#define GW_ENTRY(type, member, name, standard, description)                                                              \
    {GW_KIND(type), offsetof(struct gw_config, member), name, standard, description},
#define GW_CONFIG(LIST)                                                                                                  \
    struct gw_config {                                                                                                   \
        LIST(GW_MEMBER)                                                                                                  \
    };                                                                                                                   \
    static struct gw_config config;                                                                                      \
    static const gw_field gw_fields[] = {LIST(GW_ENTRY)};
/* For `gw_plugin`, after GW_CONFIG. */
#define GW_FIELDS .config = &config, .fields = gw_fields, .field_count = sizeof gw_fields / sizeof *gw_fields

typedef struct {
    /* A JSON Pointer (RFC 6901) to the value, such as "/greeting". */
    const char *pointer;
    /* NULL if there is no problem. */
    const char *message;
} gw_problem_at;

typedef struct {
    const char *name;
    const char *version;
    const char *description;
    void *config;
    const gw_field *fields;
    size_t field_count;
    /* Called once with the configuration in place: what is wrong with it that a schema cannot say. May be NULL. */
    gw_problem_at (*start)(void);
} gw_plugin;

/* The plugin defines it. */
extern const gw_plugin gateway_plugin;

/* ---- The request --------------------------------------------------------------------------------------------------------- */

const char *gw_id(gw_request request);
const char *gw_method(gw_request request);
const char *gw_scheme(gw_request request);
const char *gw_authority(gw_request request);
const char *gw_path(gw_request request);
/* What follows `?`; NULL without one. */
const char *gw_query(gw_request request);
/* Path and query before any plugin's edit. */
const char *gw_original_target(gw_request request);
/* `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`. */
const char *gw_protocol(gw_request request);
/* Milliseconds since the Unix epoch. */
uint64_t gw_received_at(gw_request request);
/* Its IP address. */
const char *gw_client_address(gw_request request);
const char *gw_route(gw_request request);
/* What the route's pattern captured; NULL if nothing. */
const char *gw_path_parameter(gw_request request, const char *name);
/* The first value; NULL without one. */
const char *gw_header(gw_request request, const char *name);
gw_texts gw_header_values(gw_request request, const char *name);
/* All of them, in their order. */
gw_map gw_headers(gw_request request);
gw_error gw_set_method(gw_request request, const char *method);
gw_error gw_set_path_with_query(gw_request request, const char *target);
/* Replaces every value of the name. */
gw_error gw_set_header(gw_request request, const char *name, const char *value);
gw_error gw_append_header(gw_request request, const char *name, const char *value);
gw_error gw_remove_header(gw_request request, const char *name);
/* Notes that live as long as the exchange; NULL if there is none. */
const char *gw_attribute(gw_request request, const char *key);
gw_error gw_set_attribute(gw_request request, const char *key, const char *value);
/* It is no error if there is none. */
gw_error gw_remove_attribute(gw_request request, const char *key);
/* The trace that the request belongs to, as a value of `traceparent` (W3C Trace Context §3.2); NULL if there is none. The upstream
 * gets the same trace identifier. */
const char *gw_trace_parent(gw_request request);

/* ---- The response -------------------------------------------------------------------------------------------------------- */

uint16_t gw_status(gw_response response);
gw_error gw_set_status(gw_response response, uint16_t status);
const char *gw_response_header(gw_response response, const char *name);
gw_texts gw_response_header_values(gw_response response, const char *name);
gw_map gw_response_headers(gw_response response);
gw_error gw_set_response_header(gw_response response, const char *name, const char *value);
gw_error gw_append_response_header(gw_response response, const char *name, const char *value);
gw_error gw_remove_response_header(gw_response response, const char *name);

/* ---- Several edits in one call --------------------------------------------------------------------------------------------
 *
 * Made known once, such as in `start`, and kept. In the request phase, headers of the response are changed later: when the response
 * passes the plugin on its way back. So a plugin that knows by the request alone what is to become of them needs no `gw_on_response`.
 */

typedef enum {
    /* Removes the header where the value is missing. */
    GW_SET_HEADER,
    GW_APPEND_HEADER,
    GW_REMOVE_HEADER,
    /* Removes the header where the value is missing. */
    GW_SET_RESPONSE_HEADER,
    GW_APPEND_RESPONSE_HEADER,
    GW_REMOVE_RESPONSE_HEADER,
    /* Sets the header where the response has none of that name. */
    GW_DEFAULT_RESPONSE_HEADER,
    /* Adds a member to a list of tokens, such as that of `vary`, unless it is there, or `*` is. */
    GW_JOIN_RESPONSE_HEADER,
    GW_SET_ATTRIBUTE,
    GW_REMOVE_ATTRIBUTE
} gw_deed;

typedef struct {
    gw_deed deed;
    const char *name;
    /* NULL if it comes with each `gw_edits_apply`. */
    const char *value;
} gw_edit;

typedef struct {
    gateway_plugin_http_own_edits_t handle;
} gw_edits;

/* Up to 256 of them; a plugin may have 16 lists. */
gw_edits gw_edits_new(const gw_edit *edits, size_t count);
/* Applies them in their order, with the values of the edits that have none of their own; NULL is a missing one. The response is
 * present in the response phase, else NULL. An error is that of the first edit that was refused; the others are applied. */
gw_error gw_edits_apply(gw_edits edits, gw_request request, const gw_response *response, const char *const *values, size_t count);

/* ---- Deciding ------------------------------------------------------------------------------------------------------------ */

typedef struct {
    const char *name;
    const char *value;
} gw_header_line;

typedef struct {
    uint16_t status;
    const gw_header_line *headers;
    size_t header_count;
    gw_bytes body;
} gw_reply;

/* What a request or response phase decides. */
typedef struct {
    enum { GW_GO_ON, GW_ANSWER, GW_READ, GW_STREAM, GW_MESSAGES, GW_FAIL } kind;
    gw_reply reply;
    gw_bytes state;
    gw_error error;
} gw_decision;

/* On to the next plugin. */
#define GW_NEXT ((gw_decision){.kind = GW_GO_ON})
/* Has `gw_on_request_body` or `gw_on_response_body` called when the whole body has arrived. */
#define GW_READ_BODY ((gw_decision){.kind = GW_READ})
/* Continues, and passes the body through `gw_on_request_chunk` or `gw_on_response_chunk`, which gets this state (up to 64 KiB) with
 * the first chunk. */
gw_decision gw_stream_body(gw_bytes state);
/* Continues, and passes each message through `gw_on_message`, which gets this state (up to 64 KiB) with the first one. In the response
 * phase only: of a 101 that accepts a WebSocket handshake, and of `text/event-stream` without `content-encoding`. */
gw_decision gw_stream_messages(gw_bytes state);
/* Answers the client. In the request phase only. */
gw_decision gw_respond(gw_reply reply);
/* Answers the client with problem+json (RFC 9457). In the request phase only. */
gw_decision gw_problem(uint16_t status, const char *detail);
/* The plugin itself failed; what the client gets is the operator's choice. */
gw_decision gw_fail(gw_error error);

gw_decision gw_on_request(gw_request request);
gw_decision gw_on_response(gw_request request, gw_response response);

/* ---- Whole bodies --------------------------------------------------------------------------------------------------------- */

typedef struct {
    gw_bytes bytes;
    const gw_header_line *trailers;
    size_t trailer_count;
} gw_body;

/* A body without trailers. */
gw_body gw_body_of(const char *text);
/* Bytes as a text that ends with a NUL. Bytes that are not UTF-8 stay as they are. */
const char *gw_text_of(gw_bytes bytes);

/* Called after `gw_on_request` has returned GW_READ_BODY, or for every request if the plugin has no `gw_on_request`. It cannot return
 * GW_READ_BODY. */
gw_decision gw_on_request_body(gw_request request, gw_body body);
/* Called after `gw_on_response` has returned GW_READ_BODY, or for every response if the plugin has no `gw_on_response`. */
gw_decision gw_on_response_body(gw_request request, gw_response response, gw_body body);

typedef struct {
    enum { GW_BODY_TOO_LARGE, GW_BODY_INTERRUPTED, GW_BODY_INVALID, GW_BODY_UNAVAILABLE, GW_BODY_OTHER } kind;
    /* The limit in bytes, for GW_BODY_TOO_LARGE. */
    uint64_t limit;
    /* For people. */
    gw_error message;
} gw_body_error;

/* These may be defined to decide what happens if a body could not be read. Without the first, the client gets 413 for a request body
 * that is too large and 400 for one that was interrupted or is invalid; other errors are the plugin's failure. Without the second, a
 * response body that could not be read is the plugin's failure. */
gw_decision gw_on_request_body_error(gw_request request, gw_body_error error);
gw_decision gw_on_response_body_error(gw_request request, gw_response response, gw_body_error error);

/* `imports: [bodies]`; the first in the request phase, the second in the response phase. */
gw_error gw_replace_body(gw_request request, gw_body body);
gw_error gw_replace_response_body(gw_response response, gw_body body);

/* ---- Bodies in chunks ----------------------------------------------------------------------------------------------------- */

typedef struct {
    /* The state that `gw_stream_body` or the previous result gave. */
    gw_bytes state;
    /* The bytes that were not consumed before, and those that have arrived since. */
    gw_bytes bytes;
    /* This is the last chunk, with the body's trailers. */
    bool end;
    const gw_header_line *trailers;
    size_t trailer_count;
} gw_chunk;

/* All zero when the function is called. */
typedef struct {
    /* How many of the chunk's bytes are done with. With the last chunk it has to be all of them. */
    size_t consumed;
    /* What is sent on in their place. */
    gw_bytes output;
    /* The next call is made when at least this many bytes are there, or at the end of the body. */
    size_t min_bytes;
    /* The new state, up to 64 KiB; `data` is NULL to keep the present one. */
    gw_bytes state;
    /* With the last chunk: the trailers to send. */
    const gw_header_line *trailers;
    size_t trailer_count;
} gw_chunk_result;

gw_error gw_on_request_chunk(const gw_chunk *chunk, gw_chunk_result *result);
gw_error gw_on_response_chunk(const gw_chunk *chunk, gw_chunk_result *result);

/* ---- Messages of WebSockets and events of event streams ------------------------------------------------------------------- */

/* The side that a message comes from. Events come from the upstream. */
typedef enum { GW_CLIENT, GW_UPSTREAM } gw_sender;

typedef struct {
    enum { GW_TEXT_MESSAGE, GW_BINARY_MESSAGE, GW_EVENT } kind;
    /* The text, which may contain NUL, the bytes, or the data of an event: its lines with LF between them. */
    gw_bytes bytes;
    /* Of an event, without line ends; NULL if there is none. An event without `name` has the type `message`. */
    const char *id, *name;
} gw_message;

/* All zero when the function is called: the message passes on unchanged. */
typedef struct {
    /* `output` goes on in place of the message, which is dropped if there is none. */
    bool replaced;
    const gw_message *output;
    size_t output_count;
    /* To the sender. The upstream of an event stream takes none. */
    const gw_message *replies;
    size_t reply_count;
    /* Closes the WebSocket to both sides, or ends the event stream, after output and replies; 0 to go on. 1000 to 1003, 1007 to 1014,
     * or 3000 to 4999, with a reason of up to 123 bytes or NULL. */
    uint16_t close_code;
    const char *close_reason;
    /* The new state, up to 64 KiB; `data` is NULL to keep the present one. */
    gw_bytes state;
} gw_message_result;

/* `state` is what `gw_stream_messages` or the previous call gave. An error closes the WebSocket with code 1011 or aborts the event
 * stream. */
gw_error gw_on_message(const gw_message *message, gw_sender sender, gw_bytes state, gw_message_result *result);

/* ---- The end of an exchange ----------------------------------------------------------------------------------------------- */

/* How an exchange ended; what is not there is 0 or NULL. */
typedef struct {
    uint16_t status;
    const char *failure;
    const char *upstream;
    uint64_t request_bytes, response_bytes;
    uint64_t duration_us, upstream_us, plugins_us;
    /* The last states of `gw_on_request_chunk` and `gw_on_response_chunk`. */
    gw_bytes request_stream_state, response_stream_state;
    /* The last state of `gw_on_message`. */
    gw_bytes message_state;
} gw_outcome;
/* The response is NULL if there was none. */
void gw_on_complete(gw_request request, const gw_response *response, const gw_outcome *outcome);

/* ---- Timers: work in the background, at intervals ------------------------------------------------------------------------- */

typedef struct {
    /* Unique among the timers of the plugin; 1 to 64 bytes. */
    const char *name;
    /* From the end of a call to the beginning of the next one: 1 second to 24 hours. */
    uint64_t interval_ms;
} gw_timer;

typedef struct {
    const gw_timer *items;
    size_t count;
} gw_timer_list;

/* Up to 16 timers, which follow from the configuration alone. Defined together with `gw_on_timer`. */
gw_timer_list gw_timers(void);
/* Called without a request, once per gateway process, within a second after the configuration becomes active and then after each interval.
 * Calls of one timer never overlap. An error is counted and logged, and the next call is made after the interval. */
gw_error gw_on_timer(const char *name);

/* ---- State: `imports: [store]`; buckets are granted ---------------------------------------------------------------------- */

/* `value->data` is NULL if there is none. */
gw_error gw_store_get(const char *bucket, const char *key, gw_bytes *value);
/* Without an end if `ttl_ms` is 0. */
gw_error gw_store_set(const char *bucket, const char *key, gw_bytes value, uint64_t ttl_ms);
gw_error gw_store_delete(const char *bucket, const char *key);
gw_error gw_store_increment(const char *bucket, const char *key, int64_t by, uint64_t ttl_ms, int64_t *sum);
typedef gateway_plugin_store_quota_t gw_quota;
typedef gateway_plugin_store_verdict_t gw_verdict;
gw_error gw_store_take(const char *bucket, const char *key, gw_quota quota, uint32_t cost, gw_verdict *verdict);

/* ---- Cryptography: `imports: [crypto]`; the gateway computes -------------------------------------------------------------- */

/* By their names in JOSE (RFC 7518 §3.1, RFC 8037 §3.1). */
typedef enum {
    GW_HS256,
    GW_HS384,
    GW_HS512,
    GW_RS256,
    GW_RS384,
    GW_RS512,
    GW_PS256,
    GW_PS384,
    GW_PS512,
    GW_ES256,
    GW_ES384,
    GW_ES512,
    /* Ed25519. */
    GW_EDDSA
} gw_algorithm;
typedef enum { GW_SHA256, GW_SHA384, GW_SHA512 } gw_hash;
/* Keys have 16 bytes for GW_AES128_GCM and 32 for the others. */
typedef enum { GW_AES128_GCM, GW_AES256_GCM, GW_CHACHA20_POLY1305 } gw_cipher;

/* A key's bytes, or, if `secret` is not NULL, the name of a secret. The grant `use` is enough for that: the plugin cannot read such a
 * secret. */
typedef struct {
    gw_bytes bytes;
    const char *secret;
} gw_key;

/* This error means: not encrypted with this key and this associated data, or changed since. */
extern const char gw_not_authentic[];

/* The key is the secret for HMAC, and a public key as SubjectPublicKeyInfo, in DER or PEM, for the others. */
gw_error gw_verify(gw_algorithm algorithm, gw_key key, gw_bytes message, gw_bytes signature, bool *valid);
/* The key is the secret for HMAC, and a private key as PKCS#8, in DER or PEM, for the others. */
gw_error gw_sign(gw_algorithm algorithm, gw_key key, gw_bytes message, gw_bytes *signature);
/* Gives a random nonce of 12 bytes, the ciphertext, and a tag of 16 bytes. */
gw_error gw_encrypt(gw_cipher cipher, gw_key key, gw_bytes plaintext, gw_bytes associated_data, gw_bytes *ciphertext);
gw_error gw_decrypt(gw_cipher cipher, gw_key key, gw_bytes ciphertext, gw_bytes associated_data, gw_bytes *plaintext);
/* HKDF (RFC 5869). */
gw_error gw_derive_key(gw_hash hash, gw_key key, gw_bytes salt, gw_bytes info, uint32_t length, gw_bytes *derived);
gw_error gw_digest(gw_hash hash, gw_bytes data, gw_bytes *digest);
/* At most 64 KiB. */
gw_error gw_random_bytes(uint32_t length, gw_bytes *random);

/* ---- Others -------------------------------------------------------------------------------------------------------------- */

/* `imports: [log]`. */
typedef enum { GW_TRACE, GW_DEBUG, GW_INFO, GW_WARN, GW_ERROR } gw_level;
void gw_log(gw_level level, const char *message);
/* `imports: [metrics]`; the labels are name, value, name, value, …, `label_count` pairs. */
void gw_count(const char *counter, uint64_t by, const gw_header_line *labels, size_t label_count);
void gw_observe(const char *histogram, double value, const gw_header_line *labels, size_t label_count);
/* A gauge has one value in the gateway: what was set last, and what was added since. */
void gw_set_gauge(const char *gauge, double value, const gw_header_line *labels, size_t label_count);
void gw_add_to_gauge(const char *gauge, double by, const gw_header_line *labels, size_t label_count);
/* `imports: [secrets]`, `imports: [files]`; granted by name. */
gw_error gw_secret(const char *name, gw_bytes *value);
gw_error gw_file(const char *name, gw_bytes *content);
/* `imports: [sinks]`; granted by name. */
gw_error gw_write_line(const char *sink, const char *line);
/* `imports: [http-client]`; upstreams are granted. */
typedef struct {
    const char *upstream, *method, *path_with_query;
    const gw_header_line *headers;
    size_t header_count;
    gw_bytes body;
    uint32_t timeout_ms;
} gw_call;
gw_error gw_send(gw_call call, gw_reply *reply);

/* ---- Memory and text ----------------------------------------------------------------------------------------------------- */

/* Zeroed, until the phase has ended; in `start`, as long as the instance. */
void *gw_alloc(size_t bytes);
/* As printf, into memory of `gw_alloc`. */
const char *gw_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
gw_bytes gw_bytes_of(const char *text);

#include "services.h"

#endif
