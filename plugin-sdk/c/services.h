/* Calls in parallel, several store operations at once, upstreams, documents, TCP, selections and passwords. Part of gateway.h.
 *
 * Ownership: as in all of gateway.h, what these functions return is there until the phase has ended and is never freed by hand.
 * Handles are closed then too: a call that is still in progress is cancelled, and a TCP connection that was not released is closed.
 * Only a `gw_selection` stays as long as the instance.
 */
#ifndef GATEWAY_SERVICES_H
#define GATEWAY_SERVICES_H

#include "gateway.h"

/* ---- Calls in parallel: `imports: [http-client]`; upstreams are granted -------------------------------------------------- */

typedef struct {
    gateway_plugin_http_client_own_pending_call_t handle;
} gw_pending_call;

/* Sends a request without waiting for the response, so that several calls can be in progress at a time, up to 16. */
gw_error gw_start(gw_call call, gw_pending_call *pending);
/* Waits for the whole response, which is returned once. */
gw_error gw_wait(gw_pending_call pending, gw_reply *reply);
/* Ends a call that was not waited for. Not needed at the end of a phase. */
void gw_cancel(gw_pending_call pending);

/* ---- Several store operations at once: `imports: [store]`; buckets are granted ------------------------------------------ */

typedef struct {
    enum {
        GW_STORE_GET,
        GW_STORE_SET,
        GW_STORE_DELETE,
        GW_STORE_INCREMENT,
        GW_STORE_COMPARE_AND_SWAP,
        GW_STORE_SET_TTL
    } kind;
    const char *key;
    /* For GW_STORE_SET and GW_STORE_COMPARE_AND_SWAP. */
    gw_bytes value;
    /* For GW_STORE_COMPARE_AND_SWAP. */
    gw_bytes expected;
    /* For GW_STORE_INCREMENT. */
    int64_t by;
    /* Not for GW_STORE_GET and GW_STORE_DELETE; without an end if it is 0. */
    uint64_t ttl_ms;
} gw_operation;

/* What a compare-and-swap did. */
typedef struct {
    /* The key had the expected value, and has the new one. */
    bool swapped;
    /* If nothing was changed: the present value; `data` is NULL if there is none. */
    gw_bytes present;
} gw_swap;

typedef struct {
    /* NULL if the operation succeeded. */
    gw_error error;
    /* Of GW_STORE_GET; `data` is NULL if there is none. */
    gw_bytes value;
    /* Of GW_STORE_INCREMENT. */
    int64_t sum;
    /* Of GW_STORE_COMPARE_AND_SWAP. */
    gw_swap swap;
    /* Of GW_STORE_SET_TTL: whether there is a value. */
    bool exists;
} gw_operation_result;

/* Executes up to 64 independent operations. They are neither atomic nor ordered, and each has its own result in `results`, an array of
 * `count`. If the bucket is in Redis, all of them are sent before the first result is awaited. */
gw_error gw_store_batch(const char *bucket, const gw_operation *operations, size_t count, gw_operation_result *results);

typedef struct {
    /* Within the group. */
    const char *key;
    gw_quota quota;
    /* GW_STEADY is as `gw_store_take` counts. With GW_SLIDING, units come back when they are one period old, and `burst` is ignored. */
    enum { GW_STEADY, GW_SLIDING } counting;
    /* 0 only asks. */
    uint32_t cost;
} gw_step;

/* Which counts steps, or which holders leases apply to: those of the bucket, wherever it is stored, or those in the memory of this gateway, for use while the
 * bucket cannot be reached. */
typedef enum { GW_SHARED, GW_LOCAL } gw_scope;

/* Takes up to 16 steps together, all of them or none, and writes a verdict for each to `verdicts`, an array of `count`. If one step is
 * refused, nothing is taken, and the verdicts of the others say what they would have been. Steps of one group, such as a client, are
 * stored together. */
gw_error gw_store_take_all(const char *bucket, const char *group, const gw_step *steps, size_t count, gw_scope scope, gw_verdict *verdicts);

/* Sets the value in one atomic step if the present value is the expected one. If `expected.data` is NULL there must be no value; if
 * `value.data` is NULL it is deleted. If the store becomes unavailable, the step may have been made. */
gw_error gw_store_compare_and_swap(const char *bucket, const char *key, gw_bytes expected, gw_bytes value, uint64_t ttl_ms, gw_swap *swap);
/* Gives a value another TTL, counted from now; without an end if it is 0. `exists` is whether there is a value. */
gw_error gw_store_set_ttl(const char *bucket, const char *key, uint64_t ttl_ms, bool *exists);

typedef struct {
    /* NULL if others hold the key, as many as the limit. */
    const char *lease;
    /* The holders of the key after this step. */
    uint32_t holders;
} gw_acquisition;

/* Becomes one of at most `limit` holders of a key, with a lease of 1 second to 1 hour. In a call that has a request, the gateway renews the
 * lease and releases it when the exchange ends. In other calls, such as those of timers, the plugin does, or its TTL ends it. */
gw_error gw_store_acquire(const char *bucket, const char *key, uint32_t limit, uint64_t ttl_ms, gw_scope scope, gw_acquisition *acquisition);
/* Gives a lease a TTL, counted from now. `held` is whether it is still held. */
gw_error gw_store_renew(const char *bucket, const char *key, const char *lease, uint64_t ttl_ms, bool *held);
/* Releases a lease before its exchange or its TTL ends. It is no error if it is not held any more. */
gw_error gw_store_release(const char *bucket, const char *key, const char *lease);

/* ---- Upstreams and documents --------------------------------------------------------------------------------------------- */

/* `imports: [upstreams]`. Sends the request to this upstream in place of the route's, in the request phase. The last selection counts. */
gw_error gw_select_upstream(gw_request request, const char *upstream);

/* `imports: [documents]`. Where a document is, such as a key set, and how old it may become. 0 is a default. */
typedef struct {
    const char *upstream, *path_with_query;
    /* The age at which it is fetched again, which calls do not wait for; ten minutes. */
    uint64_t refresh_ms;
    /* The least time between two attempts; half a minute. */
    uint64_t retry_ms;
    /* The age up to which it remains in use if it cannot be fetched again; a day. */
    uint64_t max_stale_ms;
    /* For each attempt; five seconds. */
    uint32_t timeout_ms;
} gw_source;

typedef struct {
    /* Changes with the text, and is never 0. It is 0 if the document's version is still the known one. */
    uint64_t version;
    gw_bytes bytes;
} gw_document;

/* The document, unless its version is still `known` (0 for none). The gateway fetches it once for all instances, and this function waits
 * only if there is no document in use yet; or with `force_refresh`, which fetches it again unless that was attempted less than
 * `retry_ms` ago. */
gw_error gw_document_get(gw_source source, uint64_t known, bool force_refresh, gw_document *document);

/* ---- TCP: `imports: [tcp]`; upstreams with TCP endpoints are granted ------------------------------------------------------ */

typedef struct {
    const char *upstream;
    gw_bytes bytes;
    /* `gw_tcp_send` returns when at least this many bytes of the answer have arrived; with 0, when the message was sent. */
    uint32_t min_bytes;
    /* For all that happens on the connection until it is released; 0 is the gateway's own limit, one minute. */
    uint32_t timeout_ms;
    /* The message may be sent a second time, if a pooled connection turns out to be closed. */
    bool repeatable;
} gw_tcp_message;

typedef struct {
    gateway_plugin_tcp_own_connection_t handle;
} gw_connection;

/* Sends a message on a pooled or new connection, and waits for the answer to begin. A phase can have 16 connections. */
gw_error gw_tcp_send(gw_tcp_message message, gw_connection *connection);
/* Waits until at least `min_bytes` have arrived that were not returned before, and returns all that have. */
gw_error gw_tcp_receive(gw_connection connection, uint32_t min_bytes, gw_bytes *bytes);
/* The answer is complete, so the connection can be used again. */
void gw_tcp_release(gw_connection connection);
/* Closes a connection that was not released. Not needed at the end of a phase. */
void gw_tcp_close(gw_connection connection);

/* ---- Several values in one call ------------------------------------------------------------------------------------------ */

typedef enum {
    GW_ITEM_REQUEST_ID,
    GW_ITEM_METHOD,
    GW_ITEM_SCHEME,
    GW_ITEM_AUTHORITY,
    GW_ITEM_PATH,
    GW_ITEM_QUERY,
    GW_ITEM_ORIGINAL_TARGET,
    GW_ITEM_PROTOCOL,
    GW_ITEM_CLIENT_ADDRESS,
    GW_ITEM_ROUTE,
    /* With a name, up to GW_ITEM_PATH_PARAMETER. */
    GW_ITEM_HEADER,
    GW_ITEM_RESPONSE_HEADER,
    GW_ITEM_ATTRIBUTE,
    GW_ITEM_PATH_PARAMETER,
    /* Three digits; missing if there is no response. */
    GW_ITEM_RESPONSE_STATUS
} gw_item_kind;

typedef struct {
    gw_item_kind kind;
    const char *name;
} gw_item;

typedef struct {
    gateway_plugin_http_own_selection_t handle;
} gw_selection;

/* Up to 256 items, whose names have up to 16 KiB together; more is a trap. Made once, such as in `start`; a plugin may have 64. */
gw_selection gw_selection_new(const gw_item *items, size_t count);
/* The value of each item, in order; `data` is NULL for one that is missing. Each ends with a NUL, which `length` does not count. The
 * response is there in the response phase, else NULL. */
const gw_bytes *gw_selection_read(gw_selection selection, gw_request request, const gw_response *response);

/* ---- Passwords: `imports: [crypto]` -------------------------------------------------------------------------------------- */

/* This error means: too many passwords are being verified. */
extern const char gw_busy[];

/* Whether a password matches a hash: argon2id in PHC string format, or bcrypt (`$2a$`, `$2b$`, `$2y$`). The worker caches a verified pair
 * as a keyed hash for `remember_ms`, at most one hour; otherwise the call waits for another thread. */
gw_error gw_verify_password(const char *hash, gw_bytes password, uint32_t remember_ms, bool *matches);

#endif
