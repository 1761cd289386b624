/* Uses what the gateway offers to plugins, each in straight-line code, as `tests/guests/services` does in Rust. Responds with a line of
 * text that the tests compare. */
#include <string.h>

#include "gateway.h"

/* `open sesame`. */
static const char hash[] = "$argon2id$v=19$m=64,t=1,p=1$c2FsdC1vZi1hbm5h$MlzKAbpDxiyDJdwkMTMDFg9ED1rnyPn1OXNFKm1f3Jg";

#define CONFIG(FIELD)                                                            \
    FIELD(gw_integer, big, "big", "-9007199254740993", "")                       \
    FIELD(gw_texts, names, "names", "[\"ann\",\"ben\"]", "")                     \
    FIELD(gw_map, ages, "ages", "{\"ann\":\"31\"}", "")
GW_CONFIG(CONFIG)

static gw_selection selection;

static gw_problem_at start(void) {
    static const gw_item items[] = {{GW_ITEM_METHOD, NULL}, {GW_ITEM_PATH, NULL}, {GW_ITEM_HEADER, "x-given"}, {GW_ITEM_HEADER, "x-missing"}};
    selection = gw_selection_new(items, 4);
    return (gw_problem_at){NULL, NULL};
}

const gw_plugin gateway_plugin = {.name = "services", .version = "0.1.0", .description = "", GW_FIELDS, .start = start};

static gw_decision told(gw_error error, const char *words) {
    if (error) return gw_fail(error);
    return gw_respond((gw_reply){.status = 200, .body = gw_bytes_of(words)});
}

static const char *truth(bool is) {
    return is ? "true" : "false";
}

static gw_call get(const char *target) {
    return (gw_call){.upstream = "users", .method = "GET", .path_with_query = target, .timeout_ms = 5000};
}

/* A counter, a call to an upstream, a chosen upstream, and a changed body. */
static gw_decision journey(gw_request request) {
    const char *user = gw_header(request, "x-user");
    int64_t visits;
    gw_reply group;
    gw_error error = gw_store_increment("visits", user, 1, 0, &visits);
    if (!error) error = gw_send(get(gw_format("/%s", user)), &group);
    if (!error) error = gw_select_upstream(request, gw_text_of(group.body));
    if (!error) error = gw_set_header(request, "x-visits", gw_format("%lld", (long long)visits));
    return error ? gw_fail(error) : GW_READ_BODY;
}

/* Copies every value of a header, whatever its bytes are. */
static gw_decision copied(gw_request request) {
    gw_texts values = gw_header_values(request, "x-given");
    gw_error error = NULL;
    for (size_t i = 0; i < values.count && !error; i++) error = gw_append_header(request, "x-copy", values.items[i]);
    return error ? gw_fail(error) : GW_NEXT;
}

static gw_decision configured(void) {
    const char *names = "";
    for (size_t i = 0; i < config.names.count; i++) names = gw_format("%s%s\"%s\"", names, i ? "," : "", config.names.items[i]);
    const char *age = gw_map_get(&config.ages, "ann");
    return told(NULL, gw_format("{\"big\":%lld,\"names\":[%s],\"age\":\"%s\"}", (long long)config.big, names, age ? age : "none"));
}

gw_decision gw_on_request_body(gw_request request, gw_body body) {
    if (strcmp(gw_path(request), "/body") == 0) {
        uint8_t *longer = gw_alloc(body.bytes.length + 1);
        if (body.bytes.length) memcpy(longer, body.bytes.data, body.bytes.length);
        longer[body.bytes.length] = 0xff;
        body.bytes = (gw_bytes){longer, body.bytes.length + 1};
        gw_error error = gw_replace_body(request, body);
        return error ? gw_fail(error) : GW_NEXT;
    }
    const char *more = gw_format("%s, visit %s", gw_text_of(body.bytes), gw_header(request, "x-visits"));
    gw_error error = gw_replace_body(request, gw_body_of(more));
    return error ? gw_fail(error) : GW_NEXT;
}

/* `users` answers neither before both have arrived. */
static gw_decision parallel(void) {
    gw_pending_call one, two, forgotten;
    gw_reply first, second;
    gw_error error = gw_start(get("/together/one"), &one);
    if (!error) error = gw_start(get("/together/two"), &two);
    if (!error) error = gw_start(get("/never"), &forgotten);
    if (!error) error = gw_wait(one, &first);
    if (!error) error = gw_wait(two, &second);
    if (error) return gw_fail(error);
    gw_reply again;
    if (!gw_wait(two, &again)) return gw_fail("a response was returned twice");
    return told(NULL, gw_format("%s %s", gw_text_of(first.body), gw_text_of(second.body)));
}

static gw_decision batch(void) {
    static const gw_operation operations[] = {
        {.kind = GW_STORE_INCREMENT, .key = "sum", .by = -(1LL << 40)},
        {.kind = GW_STORE_GET, .key = "word"},
        {.kind = GW_STORE_GET, .key = "gone"},
        {.kind = GW_STORE_SET, .key = "set", .value = {(const uint8_t *)"set", 3}, .ttl_ms = 600000},
        {.kind = GW_STORE_DELETE, .key = "deleted"},
        {.kind = GW_STORE_INCREMENT, .key = "word", .by = 1},
    };
    gw_operation_result results[6];
    gw_error error = gw_store_set("visits", "word", gw_bytes_of("word"), 0);
    if (!error) error = gw_store_batch("visits", operations, 6, results);
    if (error) return gw_fail(error);
    for (size_t i = 0; i < 5; i++) {
        if (results[i].error) return gw_fail(results[i].error);
    }
    return told(NULL, gw_format("%lld %s %s done done %s", (long long)results[0].sum, gw_text_of(results[1].value),
        results[2].value.data ? "one" : "none", results[5].error && strstr(results[5].error, "no number") ? "too-large" : "another"));
}

static gw_decision take_all(void) {
    gw_quota quota = {.limit = 3, .period_ms = 3600000, .burst = 3};
    gw_step steps[] = {{"steady", quota, GW_STEADY, 1}, {"sliding", quota, GW_SLIDING, 2}};
    gw_verdict verdicts[2];
    gw_error error = gw_store_take_all("visits", "ann", steps, 2, GW_SHARED, verdicts);
    if (error) return gw_fail(error);
    return told(NULL, gw_format("%s %u %s %u", truth(verdicts[0].allowed), (unsigned)verdicts[0].remaining, truth(verdicts[1].allowed),
        (unsigned)verdicts[1].remaining));
}

static gw_decision document(void) {
    gw_source source = {.upstream = "users", .path_with_query = "/document"};
    gw_document first, second;
    gw_error error = gw_document_get(source, 0, false, &first);
    if (!error) error = gw_document_get(source, first.version, false, &second);
    if (error) return gw_fail(error);
    return told(NULL, gw_format("%s %s", gw_text_of(first.bytes), second.version ? "changed" : "unchanged"));
}

static gw_decision password(void) {
    bool right = false, wrong = true, ignored;
    gw_error error = gw_verify_password(hash, gw_bytes_of("open sesame"), 60000, &right);
    if (!error) error = gw_verify_password(hash, gw_bytes_of("open"), 60000, &wrong);
    if (error) return gw_fail(error);
    gw_error malformed = gw_verify_password("plain", gw_bytes_of("open"), 60000, &ignored);
    return told(NULL, gw_format("%s %s %s", truth(right), truth(wrong), truth(malformed && strstr(malformed, "malformed"))));
}

static gw_decision selected(gw_request request) {
    const gw_bytes *values = gw_selection_read(selection, request, NULL);
    const char *words = "";
    for (size_t i = 0; i < 4; i++) {
        words = gw_format("%s%s%s", words, i ? " " : "", values[i].data ? (const char *)values[i].data : "missing");
    }
    return told(NULL, words);
}

static gw_decision tcp(void) {
    gw_connection connection;
    gw_bytes some, more;
    gw_error error = gw_tcp_send((gw_tcp_message){.upstream = "echo", .bytes = gw_bytes_of("one two"), .min_bytes = 3}, &connection);
    if (!error) error = gw_tcp_receive(connection, 0, &some);
    if (!error) error = gw_tcp_receive(connection, (uint32_t)(7 - some.length), &more);
    if (error) return gw_fail(error);
    gw_tcp_release(connection);
    return told(NULL, gw_format("%s%s", gw_text_of(some), gw_text_of(more)));
}

gw_decision gw_on_request(gw_request request) {
    const char *path = gw_path(request);
    if (strcmp(path, "/journey") == 0) return journey(request);
    if (strcmp(path, "/parallel") == 0) return parallel();
    if (strcmp(path, "/batch") == 0) return batch();
    if (strcmp(path, "/take-all") == 0) return take_all();
    if (strcmp(path, "/document") == 0) return document();
    if (strcmp(path, "/password") == 0) return password();
    if (strcmp(path, "/selection") == 0) return selected(request);
    if (strcmp(path, "/tcp") == 0) return tcp();
    if (strcmp(path, "/config") == 0) return configured();
    if (strcmp(path, "/headers") == 0) return copied(request);
    if (strcmp(path, "/body") == 0) return GW_READ_BODY;
    if (strcmp(path, "/denied") == 0) {
        gw_error error = gw_select_upstream(request, "ghost");
        return told(NULL, error && strstr(error, "not granted: ghost") ? "denied" : "selected");
    }
    return GW_NEXT;
}
