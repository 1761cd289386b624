/* What services.h declares. Part of gateway.c, whose memory and bindings it uses: projects do not compile it by itself. */

const char gw_busy[] = "too many passwords are being verified";

/* ---- Handles that end with the phase ------------------------------------------------------------------------------------- */

/* The gateway opens no more of a kind for one call. */
enum { OPEN = 16 };

typedef struct {
    size_t count;
    int32_t handles[OPEN];
} open_handles;

static void opened(open_handles *open, int32_t handle) {
    if (open->count < OPEN) open->handles[open->count++] = handle;
}

/* Whether it was open. */
static bool closed(open_handles *open, int32_t handle) {
    for (size_t i = 0; i < open->count; i++) {
        if (open->handles[i] != handle) continue;
        open->handles[i] = open->handles[--open->count];
        return true;
    }
    return false;
}

/* ---- Calls in parallel --------------------------------------------------------------------------------------------------- */

static open_handles pending_calls;

static void cancel_calls(void) {
    while (pending_calls.count) gw_cancel((gw_pending_call){{pending_calls.handles[0]}});
}

gw_error gw_start(gw_call call, gw_pending_call *pending) {
    gateway_plugin_http_client_call_t made = lowered_call(call);
    gateway_plugin_http_client_call_error_t error;
    if (!gateway_plugin_http_client_start(&made, &pending->handle, &error)) return not_called(error);
    cancel_pending_calls = cancel_calls;
    opened(&pending_calls, pending->handle.__handle);
    return NULL;
}

gw_error gw_wait(gw_pending_call pending, gw_reply *reply) {
    gateway_plugin_http_client_reply_t got;
    gateway_plugin_http_client_call_error_t error;
    if (!closed(&pending_calls, pending.handle.__handle)) return "the response was returned before, or the call was cancelled";
    bool done = gateway_plugin_http_client_method_pending_call_wait(
        gateway_plugin_http_client_borrow_pending_call(pending.handle), &got, &error);
    gateway_plugin_http_client_pending_call_drop_own(pending.handle);
    if (!done) return not_called(error);
    *reply = reply_of(got);
    return NULL;
}

void gw_cancel(gw_pending_call pending) {
    if (closed(&pending_calls, pending.handle.__handle)) gateway_plugin_http_client_pending_call_drop_own(pending.handle);
}

/* ---- Several store operations at once ------------------------------------------------------------------------------------- */

static gw_swap swap_of(gateway_plugin_store_swap_result_t result) {
    if (result.tag == GATEWAY_PLUGIN_STORE_SWAP_RESULT_SWAPPED) return (gw_swap){.swapped = true};
    return (gw_swap){.present = result.val.different.is_some ? present(result.val.different.val) : (gw_bytes){0}};
}

static plugin_option_list_u8_t optional(gw_bytes value) {
    return (plugin_option_list_u8_t){.is_some = value.data != NULL, .val = list(value)};
}

gw_error gw_store_batch(const char *bucket, const gw_operation *operations, size_t count, gw_operation_result *results) {
    plugin_string_t place = string(bucket);
    gateway_plugin_store_list_operation_t made = {gw_alloc((count + 1) * sizeof *made.ptr), count};
    for (size_t i = 0; i < count; i++) {
        const gw_operation *from = &operations[i];
        gateway_plugin_store_operation_t *to = &made.ptr[i];
        plugin_string_t key = string(from->key);
        plugin_option_u64_t ttl_ms = {.is_some = from->ttl_ms != 0, .val = from->ttl_ms};
        to->tag = (uint8_t)from->kind;
        switch (from->kind) {
        case GW_STORE_GET: to->val.get = key; break;
        case GW_STORE_SET: to->val.set = (gateway_plugin_store_entry_t){key, list(from->value), ttl_ms}; break;
        case GW_STORE_DELETE: to->val.delete_ = key; break;
        case GW_STORE_COMPARE_AND_SWAP:
            to->val.compare_and_swap = (gateway_plugin_store_swap_t){key, optional(from->expected), optional(from->value), ttl_ms};
            break;
        case GW_STORE_SET_TTL: to->val.set_ttl = (gateway_plugin_store_expiry_t){key, ttl_ms}; break;
        case GW_STORE_INCREMENT: to->val.increment = (gateway_plugin_store_addition_t){key, from->by, ttl_ms}; break;
        }
    }
    gateway_plugin_store_list_result_operation_result_store_error_t got;
    gateway_plugin_store_store_error_t error;
    if (!gateway_plugin_store_batch(&place, &made, &got, &error)) return not_stored(error);
    for (size_t i = 0; i < count && i < got.len; i++) {
        results[i] = (gw_operation_result){0};
        if (got.ptr[i].is_err) {
            results[i].error = not_stored(got.ptr[i].val.err);
            continue;
        }
        gateway_plugin_store_operation_result_t *result = &got.ptr[i].val.ok;
        if (result->tag == GATEWAY_PLUGIN_STORE_OPERATION_RESULT_SUM) results[i].sum = result->val.sum;
        if (result->tag == GATEWAY_PLUGIN_STORE_OPERATION_RESULT_SWAP) results[i].swap = swap_of(result->val.swap);
        if (result->tag == GATEWAY_PLUGIN_STORE_OPERATION_RESULT_EXISTS) results[i].exists = result->val.exists;
        if (result->tag == GATEWAY_PLUGIN_STORE_OPERATION_RESULT_VALUE && result->val.value.is_some) {
            results[i].value = present(result->val.value.val);
        }
    }
    return NULL;
}

gw_error gw_store_take_all(const char *bucket, const char *group, const gw_step *steps, size_t count, gw_scope scope, gw_verdict *verdicts) {
    plugin_string_t place = string(bucket), together = string(group);
    gateway_plugin_store_list_step_t made = {gw_alloc((count + 1) * sizeof *made.ptr), count};
    for (size_t i = 0; i < count; i++) {
        made.ptr[i] = (gateway_plugin_store_step_t){
            string(steps[i].key), steps[i].quota, (gateway_plugin_store_counting_t)steps[i].counting, steps[i].cost};
    }
    gateway_plugin_store_list_verdict_t got;
    gateway_plugin_store_store_error_t error;
    if (!gateway_plugin_store_take_all(&place, &together, &made, (gateway_plugin_store_scope_t)scope, &got, &error)) {
        return not_stored(error);
    }
    for (size_t i = 0; i < count && i < got.len; i++) verdicts[i] = got.ptr[i];
    return NULL;
}

gw_error gw_store_compare_and_swap(const char *bucket, const char *key, gw_bytes expected, gw_bytes value, uint64_t ttl_ms, gw_swap *swap) {
    plugin_string_t place = string(bucket), name = string(key);
    plugin_list_u8_t before = list(expected), after = list(value);
    gateway_plugin_store_swap_result_t result;
    gateway_plugin_store_store_error_t error;
    bool done = gateway_plugin_store_compare_and_swap(&place, &name, expected.data ? &before : NULL, value.data ? &after : NULL,
        ttl_ms ? &ttl_ms : NULL, &result, &error);
    if (!done) return not_stored(error);
    *swap = swap_of(result);
    return NULL;
}

gw_error gw_store_set_ttl(const char *bucket, const char *key, uint64_t ttl_ms, bool *exists) {
    plugin_string_t place = string(bucket), name = string(key);
    gateway_plugin_store_store_error_t error;
    return gateway_plugin_store_set_ttl(&place, &name, ttl_ms ? &ttl_ms : NULL, exists, &error) ? NULL : not_stored(error);
}

gw_error gw_store_acquire(const char *bucket, const char *key, uint32_t limit, uint64_t ttl_ms, gw_scope scope, gw_acquisition *acquisition) {
    plugin_string_t place = string(bucket), name = string(key);
    gateway_plugin_store_acquisition_t got;
    gateway_plugin_store_store_error_t error;
    if (!gateway_plugin_store_acquire(&place, &name, limit, ttl_ms, (gateway_plugin_store_scope_t)scope, &got, &error)) {
        return not_stored(error);
    }
    *acquisition = (gw_acquisition){got.lease.is_some ? text(got.lease.val) : NULL, got.holders};
    return NULL;
}

gw_error gw_store_renew(const char *bucket, const char *key, const char *lease, uint64_t ttl_ms, bool *held) {
    plugin_string_t place = string(bucket), name = string(key), id = string(lease);
    gateway_plugin_store_store_error_t error;
    return gateway_plugin_store_renew(&place, &name, &id, ttl_ms, held, &error) ? NULL : not_stored(error);
}

gw_error gw_store_release(const char *bucket, const char *key, const char *lease) {
    plugin_string_t place = string(bucket), name = string(key), id = string(lease);
    gateway_plugin_store_store_error_t error;
    return gateway_plugin_store_release(&place, &name, &id, &error) ? NULL : not_stored(error);
}

/* ---- Upstreams and documents --------------------------------------------------------------------------------------------- */

gw_error gw_select_upstream(gw_request request, const char *upstream) {
    plugin_string_t name = string(upstream);
    gateway_plugin_upstreams_upstream_error_t error;
    if (gateway_plugin_upstreams_select(request.handle, &name, &error)) return NULL;
    switch (error.tag) {
    case GATEWAY_PLUGIN_UPSTREAMS_UPSTREAM_ERROR_DENIED:
        return gw_format("no such upstream with HTTP endpoints, or it is not granted: %s", text(error.val.denied));
    case GATEWAY_PLUGIN_UPSTREAMS_UPSTREAM_ERROR_UNAVAILABLE:
        return "an upstream can be selected in the request phase, on routes that have one";
    default: return gw_format("no upstream was selected: %s", text(error.val.other));
    }
}

gw_error gw_document_get(gw_source source, uint64_t known, bool force_refresh, gw_document *document) {
    gateway_plugin_documents_source_t made = {
        .upstream = string(source.upstream),
        .path_with_query = string(source.path_with_query),
        .refresh_ms = source.refresh_ms ? source.refresh_ms : 600000,
        .retry_ms = source.retry_ms ? source.retry_ms : 30000,
        .max_stale_ms = source.max_stale_ms ? source.max_stale_ms : 86400000,
        .timeout_ms = source.timeout_ms ? source.timeout_ms : 5000,
    };
    gateway_plugin_documents_option_document_t got;
    gateway_plugin_documents_document_error_t error;
    if (gateway_plugin_documents_get(&made, known, force_refresh, &got, &error)) {
        *document = got.is_some ? (gw_document){got.val.version, present(got.val.bytes)} : (gw_document){0};
        return NULL;
    }
    switch (error.tag) {
    case GATEWAY_PLUGIN_DOCUMENTS_DOCUMENT_ERROR_DENIED: return gw_format("the upstream is not granted: %s", text(error.val.denied));
    case GATEWAY_PLUGIN_DOCUMENTS_DOCUMENT_ERROR_INVALID: return gw_format("the path is not valid: %s", text(error.val.invalid));
    case GATEWAY_PLUGIN_DOCUMENTS_DOCUMENT_ERROR_UNAVAILABLE:
        return gw_format("the document is not available: %s", text(error.val.unavailable));
    default: return gw_format("there is no document: %s", text(error.val.other));
    }
}

/* ---- TCP ----------------------------------------------------------------------------------------------------------------- */

static open_handles connections;

static void close_all_connections(void) {
    while (connections.count) gw_tcp_close((gw_connection){{connections.handles[0]}});
}

static gw_error not_sent(gateway_plugin_tcp_tcp_error_t error) {
    switch (error.tag) {
    case GATEWAY_PLUGIN_TCP_TCP_ERROR_DENIED:
        return gw_format("no such upstream with TCP endpoints, or it is not granted: %s", text(error.val.denied));
    case GATEWAY_PLUGIN_TCP_TCP_ERROR_TIMEOUT: return "the time limit of the connection is over";
    case GATEWAY_PLUGIN_TCP_TCP_ERROR_UNREACHABLE: return gw_format("the upstream cannot be reached: %s", text(error.val.unreachable));
    case GATEWAY_PLUGIN_TCP_TCP_ERROR_CLOSED: return gw_format("the connection ended early: %s", text(error.val.closed));
    case GATEWAY_PLUGIN_TCP_TCP_ERROR_TOO_LARGE: return gw_format("over %llu bytes", (unsigned long long)error.val.too_large);
    case GATEWAY_PLUGIN_TCP_TCP_ERROR_UNAVAILABLE: return "while the plugin is configured, or too many connections";
    default: return gw_format("the connection failed: %s", text(error.val.other));
    }
}

gw_error gw_tcp_send(gw_tcp_message message, gw_connection *connection) {
    gateway_plugin_tcp_message_t made = {
        string(message.upstream), list(message.bytes), message.min_bytes, message.timeout_ms, message.repeatable};
    gateway_plugin_tcp_tcp_error_t error;
    if (!gateway_plugin_tcp_send(&made, &connection->handle, &error)) return not_sent(error);
    close_connections = close_all_connections;
    opened(&connections, connection->handle.__handle);
    return NULL;
}

gw_error gw_tcp_receive(gw_connection connection, uint32_t min_bytes, gw_bytes *received) {
    plugin_list_u8_t got;
    gateway_plugin_tcp_tcp_error_t error;
    bool done = gateway_plugin_tcp_method_connection_receive(
        gateway_plugin_tcp_borrow_connection(connection.handle), min_bytes, &got, &error);
    if (!done) return not_sent(error);
    *received = bytes(got);
    return NULL;
}

void gw_tcp_release(gw_connection connection) {
    if (closed(&connections, connection.handle.__handle)) gateway_plugin_tcp_release(connection.handle);
}

void gw_tcp_close(gw_connection connection) {
    if (closed(&connections, connection.handle.__handle)) gateway_plugin_tcp_connection_drop_own(connection.handle);
}

/* ---- Several values in one call ------------------------------------------------------------------------------------------ */

gw_selection gw_selection_new(const gw_item *items, size_t count) {
    gateway_plugin_http_list_item_t made = {gw_alloc((count + 1) * sizeof *made.ptr), count};
    for (size_t i = 0; i < count; i++) {
        made.ptr[i].tag = (uint8_t)items[i].kind;
        if (items[i].kind >= GW_ITEM_HEADER && items[i].kind <= GW_ITEM_PATH_PARAMETER) made.ptr[i].val.header = string(items[i].name);
    }
    return (gw_selection){gateway_plugin_http_constructor_selection(&made)};
}

const gw_bytes *gw_selection_read(gw_selection selection, gw_request request, const gw_response *response) {
    gateway_plugin_http_borrow_response_t lent;
    if (response) lent = response->handle;
    gateway_plugin_http_values_t got;
    gateway_plugin_http_method_selection_read(
        gateway_plugin_http_borrow_selection(selection.handle), request.handle, response ? &lent : NULL, &got);
    gw_bytes *values = gw_alloc((got.lengths.len + 1) * sizeof *values);
    size_t at = 0;
    for (size_t i = 0; i < got.lengths.len; i++) {
        if (!got.lengths.ptr[i].is_some) continue;
        size_t length = got.lengths.ptr[i].val;
        uint8_t *copy = gw_alloc(length + 1);
        if (length) memcpy(copy, got.bytes.ptr + at, length);
        values[i] = (gw_bytes){copy, length};
        at += length;
    }
    return values;
}

/* ---- Passwords ----------------------------------------------------------------------------------------------------------- */

gw_error gw_verify_password(const char *hash, gw_bytes password, uint32_t remember_ms, bool *matches) {
    plugin_string_t known = string(hash);
    plugin_list_u8_t given = list(password);
    gateway_plugin_crypto_password_error_t error;
    if (gateway_plugin_crypto_verify_password(&known, &given, remember_ms, matches, &error)) return NULL;
    switch (error.tag) {
    case GATEWAY_PLUGIN_CRYPTO_PASSWORD_ERROR_MALFORMED_HASH: return gw_format("malformed hash: %s", text(error.val.malformed_hash));
    case GATEWAY_PLUGIN_CRYPTO_PASSWORD_ERROR_BUSY: return gw_busy;
    default: return text(error.val.other);
    }
}
