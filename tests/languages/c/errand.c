/* Uses all that the SDK offers, as the cases want it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway.h"

#define CONFIG(FIELD)                                                    \
    FIELD(gw_text, mark, "mark", GW_REQUIRED, "")                        \
    FIELD(gw_integer, count, "count", GW_REQUIRED, "")                   \
    FIELD(gw_number, ratio, "ratio", GW_REQUIRED, "")                    \
    FIELD(gw_boolean, loud, "loud", GW_REQUIRED, "")                     \
    FIELD(gw_texts, names, "names", GW_REQUIRED, "")                     \
    FIELD(gw_map, ages, "ages", GW_REQUIRED, "")                         \
    FIELD(gw_text, left_out, "left-out", "\"over \\\"it\\\"\"", "What is left out.")
GW_CONFIG(CONFIG)

static gw_edits planned, refused, forgotten;

static gw_problem_at start(void) {
    static const gw_edit plan[] = {
        {GW_SET_HEADER, "x-set", NULL},
        {GW_REMOVE_RESPONSE_HEADER, "x-gone", NULL},
        {GW_APPEND_RESPONSE_HEADER, "x-kept", "two"},
        {GW_SET_RESPONSE_HEADER, "x-unset", NULL},
        {GW_DEFAULT_RESPONSE_HEADER, "x-own", "ours"},
        {GW_DEFAULT_RESPONSE_HEADER, "x-new", NULL},
        {GW_JOIN_RESPONSE_HEADER, "vary", "x-given"},
    };
    planned = gw_edits_new(plan, sizeof plan / sizeof *plan);
    static const gw_edit forbidden[] = {{GW_SET_RESPONSE_HEADER, "connection", "close"}, {GW_SET_ATTRIBUTE, "errand.made", NULL}};
    refused = gw_edits_new(forbidden, 2);
    static const gw_edit removal[] = {{GW_REMOVE_ATTRIBUTE, "errand.two", NULL}};
    forgotten = gw_edits_new(removal, 1);
    return (gw_problem_at){NULL, NULL};
}

const gw_plugin gateway_plugin = {.name = "errand", .version = "0.1.0", .description = "", GW_FIELDS, .start = start};

static gw_decision json(const char *body) {
    static const gw_header_line type[] = {{"content-type", "application/json"}};
    return gw_respond((gw_reply){.status = 200, .headers = type, .header_count = 1, .body = gw_bytes_of(body)});
}

/* Whether an error, whose text names its reason, has this one. */
static gw_decision code(gw_error error, const char *reason, const char *name) {
    return json(gw_format("{\"error\":\"%s\"}", error && strstr(error, reason) ? name : "another"));
}

static const char *text(gw_bytes bytes) {
    return bytes.data ? gw_format("%.*s", (int)bytes.length, (const char *)bytes.data) : "none";
}

/* Goes on, or fails with the first of some errors. */
static gw_decision all(const gw_error *errors, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (errors[i]) return gw_fail(errors[i]);
    }
    return GW_NEXT;
}
#define ALL(...) all((gw_error[]){__VA_ARGS__}, sizeof((gw_error[]){__VA_ARGS__}) / sizeof(gw_error))

static const char *joined(gw_texts values) {
    const char *made = "";
    for (size_t i = 0; i < values.count; i++) made = gw_format("%s%s%s", made, i ? "," : "", values.items[i]);
    return made;
}

static gw_decision parts(gw_request r) {
    const char *missing = gw_header(r, "x-missing");
    if (!missing) missing = gw_path_parameter(r, "other");
    if (!missing) missing = gw_attribute(r, "none");
    return json(gw_format("{\"method\":\"%s\",\"scheme\":\"%s\",\"authority\":\"%s\",\"path\":\"%s\",\"query\":\"%s\","
                          "\"original\":\"%s\",\"protocol\":\"%s\",\"client\":\"%s\",\"route\":\"%s\",\"twice\":\"%s\","
                          "\"rest\":\"%s\",\"missing\":\"%s\"}",
        gw_method(r), gw_scheme(r), gw_authority(r), gw_path(r), gw_query(r), gw_original_target(r), gw_protocol(r),
        gw_client_address(r), gw_route(r), joined(gw_header_values(r, "x-twice")), gw_path_parameter(r, "rest"), missing ? missing : "none"));
}

static gw_decision store(void) {
    gw_bytes before, after;
    int64_t sum;
    gw_decision done = ALL(gw_store_get("visits", "last", &before),
        gw_store_set("visits", "last", gw_bytes_of("kept"), 60000), gw_store_get("visits", "last", &after),
        gw_store_delete("visits", "last"), gw_store_increment("visits", "sum", 5, 0, &sum));
    if (done.kind == GW_FAIL) return done;
    return json(gw_format("{\"before\":\"%s\",\"sum\":%lld,\"after\":\"%s\"}", text(before), (long long)sum, text(after)));
}

static const char *is(bool value) {
    return value ? "true" : "false";
}

static gw_decision swap_value(void) {
    gw_swap created, refused, changed, deleted, missing;
    gw_bytes none = {0}, one = gw_bytes_of("one"), two = gw_bytes_of("two"), left;
    gw_decision done = ALL(gw_store_compare_and_swap("visits", "swapped", none, one, 60000, &created),
        gw_store_compare_and_swap("visits", "swapped", gw_bytes_of("another"), two, 0, &refused),
        gw_store_compare_and_swap("visits", "swapped", one, two, 0, &changed),
        gw_store_compare_and_swap("visits", "swapped", two, none, 0, &deleted),
        gw_store_compare_and_swap("visits", "swapped", two, gw_bytes_of("three"), 0, &missing), gw_store_get("visits", "swapped", &left));
    if (done.kind == GW_FAIL) return done;
    return json(gw_format("{\"created\":%s,\"refused\":\"%s\",\"changed\":%s,\"deleted\":%s,\"left\":\"%s\",\"missing\":\"%s\"}",
        is(created.swapped), text(refused.present), is(changed.swapped), is(deleted.swapped), text(left), text(missing.present)));
}

static gw_decision set_ttl(void) {
    bool missing, shorter, forever;
    gw_bytes kept;
    gw_decision done = ALL(gw_store_set_ttl("visits", "lasting", 60000, &missing),
        gw_store_set("visits", "lasting", gw_bytes_of("kept"), 0), gw_store_set_ttl("visits", "lasting", 60000, &shorter),
        gw_store_set_ttl("visits", "lasting", 0, &forever), gw_store_get("visits", "lasting", &kept));
    if (done.kind == GW_FAIL) return done;
    return json(gw_format("{\"missing\":%s,\"shorter\":%s,\"forever\":%s,\"kept\":\"%s\"}", is(missing), is(shorter), is(forever), text(kept)));
}

static gw_decision lease(void) {
    gw_acquisition first, second, again;
    bool renewed, ended;
    gw_error error = gw_store_acquire("visits", "place", 1, 60000, GW_SHARED, &first);
    if (!error) error = gw_store_acquire("visits", "place", 1, 60000, GW_SHARED, &second);
    if (error) return gw_fail(error);
    gw_decision done = ALL(gw_store_renew("visits", "place", first.lease, 60000, &renewed), gw_store_release("visits", "place", first.lease),
        gw_store_acquire("visits", "place", 1, 60000, GW_SHARED, &again), gw_store_renew("visits", "place", first.lease, 60000, &ended));
    if (done.kind == GW_FAIL) return done;
    return json(gw_format("{\"first\":%s,\"second\":%s,\"holders\":%u,\"renewed\":%s,\"again\":%s,\"ended\":%s}", is(first.lease),
        is(second.lease), second.holders, is(renewed), is(again.lease), is(ended)));
}

static gw_decision lease_local(void) {
    gw_acquisition first, second;
    gw_decision done = ALL(gw_store_acquire("visits", "place", 1, 60000, GW_LOCAL, &first),
        gw_store_acquire("visits", "place", 1, 60000, GW_LOCAL, &second));
    if (done.kind == GW_FAIL) return done;
    return json(gw_format("{\"first\":%s,\"second\":%s}", is(first.lease), is(second.lease)));
}

static gw_decision batch_swap(void) {
    const gw_operation operations[] = {
        {.kind = GW_STORE_COMPARE_AND_SWAP, .key = "batched", .value = gw_bytes_of("one"), .ttl_ms = 60000},
        {.kind = GW_STORE_COMPARE_AND_SWAP, .key = "word", .expected = gw_bytes_of("other"), .value = gw_bytes_of("new")},
        {.kind = GW_STORE_SET_TTL, .key = "word", .ttl_ms = 60000},
        {.kind = GW_STORE_SET_TTL, .key = "none"},
    };
    gw_operation_result results[4];
    gw_bytes kept;
    gw_decision done = ALL(gw_store_set("visits", "word", gw_bytes_of("text"), 0), gw_store_batch("visits", operations, 4, results),
        results[0].error, results[1].error, results[2].error, results[3].error, gw_store_get("visits", "batched", &kept));
    if (done.kind == GW_FAIL) return done;
    return json(gw_format("{\"swapped\":%s,\"present\":\"%s\",\"exists\":%s,\"missing\":%s,\"kept\":\"%s\"}", is(results[0].swap.swapped),
        text(results[1].swap.present), is(results[2].exists), is(results[3].exists), text(kept)));
}

static gw_decision timed(void) {
    gw_bytes runs;
    gw_error error = gw_store_get("visits", "runs", &runs);
    return error ? gw_fail(error) : json(gw_format("{\"runs\":%s}", runs.data ? text(runs) : "0"));
}

gw_timer_list gw_timers(void) {
    static const gw_timer timers[] = {{"count", 60000}, {"broken", 86400000}};
    return (gw_timer_list){timers, 2};
}

gw_error gw_on_timer(const char *name) {
    if (strcmp(name, "broken") == 0) return "as it was told";
    gw_reply reply;
    int64_t sum;
    gw_error error = gw_send((gw_call){.upstream = "users", .method = "GET", .path_with_query = gw_format("/%s", name), .timeout_ms = 5000}, &reply);
    return error ? error : gw_store_increment("visits", "runs", 1, 0, &sum);
}

static const char *hex(gw_bytes bytes) {
    char *made = gw_alloc(2 * bytes.length + 1);
    for (size_t i = 0; i < bytes.length; i++) {
        made[2 * i] = "0123456789abcdef"[bytes.data[i] >> 4];
        made[2 * i + 1] = "0123456789abcdef"[bytes.data[i] & 15];
    }
    return made;
}

static gw_decision crypto(void) {
    gw_key key = {.secret = "key"}, another = {.bytes = gw_bytes_of("another")};
    gw_bytes message = gw_bytes_of("told"), about = gw_bytes_of("errand");
    gw_bytes signature = {0}, derived = {0}, sealed = {0}, opened = {0}, digest = {0}, random = {0}, nothing;
    bool valid = false, forged = true;
    gw_error error = gw_sign(GW_HS256, key, message, &signature);
    if (!error) error = gw_verify(GW_HS256, key, message, signature, &valid);
    if (!error) error = gw_verify(GW_HS256, another, message, signature, &forged);
    if (!error) error = gw_derive_key(GW_SHA256, key, gw_bytes_of("salt"), about, 16, &derived);
    if (!error) error = gw_encrypt(GW_AES128_GCM, (gw_key){.bytes = derived}, message, about, &sealed);
    if (!error) error = gw_decrypt(GW_AES128_GCM, (gw_key){.bytes = derived}, sealed, about, &opened);
    if (!error) error = gw_digest(GW_SHA256, message, &digest);
    if (!error) error = gw_random_bytes(16, &random);
    if (error) return gw_fail(error);
    gw_error tampered = gw_decrypt(GW_AES128_GCM, (gw_key){.bytes = derived}, sealed, message, &nothing);
    gw_error denied = gw_sign(GW_HS256, (gw_key){.secret = "others"}, message, &nothing);
    return json(gw_format("{\"signature\":\"%s\",\"valid\":%s,\"forged\":%s,\"opened\":\"%s\",\"tampered\":\"%s\","
                          "\"derived\":\"%s\",\"digest\":\"%s\",\"random\":%zu,\"denied\":\"%s\"}",
        hex(signature), valid ? "true" : "false", forged ? "true" : "false", text(opened),
        tampered == gw_not_authentic ? "not-authentic" : "another", hex(derived), hex(digest), random.length,
        denied && strstr(denied, "not granted: others") ? "denied" : "another"));
}

static gw_decision forget(gw_request r) {
    gw_error error = gw_set_attribute(r, "errand.one", "1");
    if (!error) error = gw_set_attribute(r, "errand.two", "2");
    if (!error) error = gw_remove_attribute(r, "errand.one");
    if (!error) error = gw_edits_apply(forgotten, r, NULL, NULL, 0);
    if (error) return gw_fail(error);
    const char *one = gw_attribute(r, "errand.one"), *two = gw_attribute(r, "errand.two"), *trace = gw_trace_parent(r);
    return json(gw_format("{\"left\":\"%s,%s\",\"trace\":\"%s\"}", one ? one : "none", two ? two : "none", trace ? trace : "none"));
}

static gw_decision call(void) {
    static const gw_header_line headers[] = {{"x-a", "b"}};
    gw_reply answer;
    gw_error error = gw_send((gw_call){.upstream = "users", .method = "POST", .path_with_query = "/u?x=1", .headers = headers,
                                 .header_count = 1, .body = gw_bytes_of("hello"), .timeout_ms = 5000},
        &answer);
    if (error) return gw_fail(error);
    const char *from = "";
    for (size_t i = 0; i < answer.header_count; i++) {
        if (strcmp(answer.headers[i].name, "x-from") == 0) from = answer.headers[i].value;
    }
    return json(gw_format("{\"status\":%d,\"from\":\"%s\",\"body\":\"{\\\"id\\\":7}\"}", answer.status, from));
}

gw_decision gw_on_request(gw_request r) {
    const char *path = gw_path(r);
    gw_bytes bytes, more;
    if (strcmp(path, "/config") == 0) {
        return json(gw_format("{\"mark\":\"%s\",\"count\":%lld,\"ratio\":%g,\"loud\":%s,\"names\":[\"%s\",\"%s\"],\"age\":\"%s\","
                              "\"left\":\"over \\\"it\\\"\",\"was\":%d}",
            config.mark, (long long)config.count, config.ratio, config.loud ? "true" : "false", config.names.items[0],
            config.names.items[1], gw_map_get(&config.ages, "ann"), strcmp(config.left_out, "over \"it\"")));
    }
    if (strcmp(path, "/parts") == 0) return parts(r);
    if (strcmp(path, "/headers") == 0) {
        gw_map headers = gw_headers(r);
        const char *lines = "";
        for (size_t i = 0; i < headers.count; i++) {
            if (strlen(headers.names[i]) == 3) lines = gw_format("%s%s=%s;", lines, headers.names[i], headers.values[i]);
        }
        return json(gw_format("{\"lines\":\"%s\"}", lines));
    }
    if (strcmp(path, "/edit") == 0) {
        return ALL(gw_set_method(r, "PUT"), gw_set_path_with_query(r, "/edited?by=plugin"), gw_remove_header(r, "x-gone"),
            gw_append_header(r, "x-kept", "two"), gw_set_header(r, "x-set", "grüße"),
            gw_set_attribute(r, "errand.note", "told"), gw_set_header(r, "x-note", gw_attribute(r, "errand.note")));
    }
    if (strcmp(path, "/plan") == 0) return ALL(gw_edits_apply(planned, r, NULL, (const char *[]){"grüße", NULL, "ours"}, 3));
    if (strcmp(path, "/plan-forbidden") == 0) {
        gw_error error = gw_edits_apply(refused, r, NULL, (const char *[]){"told"}, 1);
        const char *reason = error && strstr(error, "edit 0 of the list is not the plugin's") ? "forbidden" : "another";
        return json(gw_format("{\"error\":\"%s\",\"made\":\"%s\"}", reason, gw_attribute(r, "errand.made")));
    }
    if (strcmp(path, "/forbidden") == 0) return code(gw_set_header(r, "content-length", "1"), "not the plugin's", "forbidden");
    if (strcmp(path, "/copy") == 0) {
        const char *value = gw_header(r, "x-given");
        return ALL(gw_set_header(r, "x-copy", value ? value : "missing"));
    }
    if (strcmp(path, "/text") == 0) {
        const char *given = gw_header(r, "x-given");
        const gw_header_line labels[] = {{"kind", given}};
        gw_log(GW_INFO, given);
        gw_count("errands", 1, labels, 1);
        gw_reply reply;
        bool refused = gw_set_header(r, given, "x") && gw_set_method(r, given) && gw_secret(given, &bytes) &&
                       gw_send((gw_call){.upstream = given, .method = "GET", .path_with_query = "/", .timeout_ms = 1000}, &reply);
        gw_error error = gw_write_line("audit", given);
        if (!error) error = gw_set_attribute(r, "errand.text", given);
        if (!error) error = gw_store_set("visits", given, gw_bytes_of("kept"), 60000);
        if (!error) error = gw_store_get("visits", given, &more);
        if (error) return gw_fail(error);
        const char *found = gw_header(r, given) || gw_path_parameter(r, given) ? "one" : "none";
        return json(gw_format("{\"text\":\"%s\",\"kept\":\"%s\",\"found\":\"%s\",\"refused\":%s}",
            gw_attribute(r, "errand.text"), text(more), found, refused ? "true" : "false"));
    }
    if (strcmp(path, "/store") == 0) return store();
    if (strcmp(path, "/swap-value") == 0) return swap_value();
    if (strcmp(path, "/set-ttl") == 0) return set_ttl();
    if (strcmp(path, "/lease") == 0) return lease();
    if (strcmp(path, "/lease-local") == 0) return lease_local();
    if (strcmp(path, "/batch-swap") == 0) return batch_swap();
    if (strcmp(path, "/timed") == 0) return timed();
    if (strcmp(path, "/take") == 0) {
        gw_verdict verdict;
        gw_error error = gw_store_take("visits", "quota", (gw_quota){2, 60000, 2}, 1, &verdict);
        if (error) return gw_fail(error);
        return json(gw_format("{\"allowed\":%s,\"remaining\":%u}", verdict.allowed ? "true" : "false", verdict.remaining));
    }
    if (strcmp(path, "/denied") == 0) return code(gw_store_get("others", "x", &bytes), "not granted: others", "denied");
    if (strcmp(path, "/secret") == 0) {
        gw_decision done = ALL(gw_secret("key", &bytes), gw_file("list", &more));
        if (done.kind == GW_FAIL) return done;
        return json(gw_format("{\"secret\":\"%s\",\"file\":%s}", text(bytes), "\"a\\nb\\n\""));
    }
    if (strcmp(path, "/tell") == 0) {
        static const gw_header_line labels[] = {{"kind", "told"}};
        gw_log(GW_INFO, "told");
        gw_count("errands", 2, labels, 1);
        gw_observe("errand_seconds", 0.5, NULL, 0);
        gw_error error = gw_write_line("audit", "told");
        return error ? gw_fail(error) : gw_respond((gw_reply){.status = 204});
    }
    if (strcmp(path, "/crypto") == 0) return crypto();
    if (strcmp(path, "/gauge") == 0) {
        static const gw_header_line set[] = {{"kind", "set"}}, added[] = {{"kind", "added"}};
        gw_set_gauge("errand_level", 2.5, set, 1);
        gw_add_to_gauge("errand_level", -1, added, 1);
        return gw_respond((gw_reply){.status = 204});
    }
    if (strcmp(path, "/forget") == 0) return forget(r);
    if (strcmp(path, "/call") == 0) return call();
    if (strcmp(path, "/body") == 0 || strcmp(path, "/flip") == 0) return GW_READ_BODY;
    if (strcmp(path, "/chunks") == 0) return gw_stream_body(gw_bytes_of("0"));
    if (strcmp(path, "/clock") == 0) return json(time(NULL) > 1700000000 ? "{\"runs\":true}" : "{\"runs\":false}");
    if (strcmp(path, "/fail") == 0) return gw_fail("as it was told");
    if (strcmp(path, "/problem") == 0) return gw_problem(403, "not \"you\"");
    return GW_NEXT;
}

static gw_body and_read(gw_body body) {
    body.bytes = gw_bytes_of(gw_format("%s, read", gw_text_of(body.bytes)));
    return body;
}

gw_decision gw_on_request_body(gw_request request, gw_body body) {
    if (strcmp(gw_path(request), "/flip") == 0) {
        uint8_t *changed = gw_alloc(body.bytes.length);
        memcpy(changed, body.bytes.data, body.bytes.length);
        changed[0] = '!';
        body.bytes.data = changed;
        return ALL(gw_replace_body(request, body));
    }
    return ALL(gw_replace_body(request, and_read(body)));
}

gw_decision gw_on_response(gw_request request, gw_response response) {
    const char *path = gw_path(request);
    if (strcmp(path, "/response") == 0) {
        gw_decision done = ALL(gw_set_response_header(response, "x-seen", gw_format("%d", gw_status(response))),
            gw_set_status(response, 203), gw_remove_response_header(response, "x-gone"),
            gw_append_response_header(response, "x-kept", "two"));
        return done.kind == GW_FAIL ? done : GW_READ_BODY;
    }
    if (strcmp(path, "/large") == 0) {
        gw_error error = gw_replace_response_body(response, (gw_body){.bytes = {gw_alloc(300000), 300000}});
        return error ? gw_fail(error) : GW_READ_BODY;
    }
    if (strcmp(path, "/chunks") == 0) return gw_stream_body(gw_bytes_of("0"));
    if (strcmp(path, "/events") == 0 || gw_status(response) == 101) return gw_stream_messages(gw_bytes_of("0"));
    return GW_NEXT;
}

/* Adds the sender and the number of messages to texts and events, and does what some of them say. */
gw_error gw_on_message(const gw_message *message, gw_sender sender, gw_bytes state, gw_message_result *result) {
    const char *text = gw_text_of(message->bytes), *side = sender == GW_CLIENT ? "client" : "upstream";
    const char *count = gw_format("%d", atoi(gw_text_of(state)) + 1);
    gw_message *output = gw_alloc(2 * sizeof *output);
    output[0] = output[1] = *message;
    result->state = gw_bytes_of(count);
    if (message->kind != GW_BINARY_MESSAGE && strcmp(text, "pass") == 0) return NULL;
    if (message->kind != GW_BINARY_MESSAGE && strcmp(text, "fail") == 0) return "as it was told";
    if (message->kind != GW_BINARY_MESSAGE && strcmp(text, "close") == 0) {
        result->close_code = 4000;
        result->close_reason = "as it was told";
        return NULL;
    }
    result->replaced = true;
    result->output = output;
    if (message->kind == GW_BINARY_MESSAGE) {
        size_t length = message->bytes.length;
        uint8_t *longer = gw_alloc(length + 2);
        memcpy(longer, message->bytes.data, length);
        longer[length] = 0;
        longer[length + 1] = 255;
        output[0].bytes = (gw_bytes){longer, length + 2};
        result->output_count = 1;
    } else if (strcmp(text, "drop") == 0) {
        result->output_count = 0;
    } else if (strcmp(text, "reply") == 0) {
        output[0].bytes = gw_bytes_of(gw_format("reply to the %s", side));
        result->replies = output;
        result->reply_count = 1;
    } else if (strcmp(text, "two") == 0) {
        output[0].bytes = gw_bytes_of("1");
        output[1].bytes = gw_bytes_of("2");
        result->output_count = 2;
    } else {
        output[0].bytes = gw_bytes_of(gw_format("%s\n%s %s", text, side, count));
        result->output_count = 1;
    }
    return NULL;
}

gw_decision gw_on_response_body(gw_request request, gw_response response, gw_body body) {
    if (strcmp(gw_path(request), "/large") == 0) {
        return ALL(gw_set_response_header(response, "x-length", gw_format("%zu", body.bytes.length)));
    }
    return ALL(gw_replace_response_body(response, and_read(body)));
}

/* Sends groups of four bytes in brackets. The state is how many of them there were. */
static gw_error in_fours(const gw_chunk *chunk, gw_chunk_result *result) {
    int count = atoi(gw_text_of(chunk->state));
    char *output = gw_alloc(chunk->bytes.length * 3), *to = output;
    size_t left;
    while ((left = chunk->bytes.length - result->consumed) >= 4 || (chunk->end && left)) {
        size_t size = left < 4 ? left : 4;
        *to++ = '[';
        memcpy(to, chunk->bytes.data + result->consumed, size);
        to += size;
        *to++ = ']';
        result->consumed += size;
        count++;
    }
    result->output = (gw_bytes){(const uint8_t *)output, (size_t)(to - output)};
    result->min_bytes = 4;
    result->state = gw_bytes_of(gw_format("%d", count));
    result->trailers = chunk->trailers;
    result->trailer_count = chunk->trailer_count;
    return NULL;
}

gw_error gw_on_request_chunk(const gw_chunk *chunk, gw_chunk_result *result) {
    return in_fours(chunk, result);
}

gw_error gw_on_response_chunk(const gw_chunk *chunk, gw_chunk_result *result) {
    return in_fours(chunk, result);
}

void gw_on_complete(gw_request request, const gw_response *response, const gw_outcome *outcome) {
    const char *line = gw_format("%s %d %d %s %d", gw_path(request), response ? gw_status(*response) : 0, outcome->status,
        outcome->upstream ? outcome->upstream : "", outcome->duration_us > 0);
    if (outcome->response_stream_state.data) {
        line = gw_format("%s groups: %s, %s", gw_path(request), gw_text_of(outcome->request_stream_state), gw_text_of(outcome->response_stream_state));
    }
    if (outcome->message_state.data) line = gw_format("%s messages: %s", gw_path(request), gw_text_of(outcome->message_state));
    gw_error error = gw_write_line("audit", line);
    if (error) gw_log(GW_WARN, error);
}
