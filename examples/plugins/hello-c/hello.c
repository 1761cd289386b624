/* Lets in who has a key, and tells the upstream who it is. */
#include "gateway.h"

/* Who is let in: the struct `config`, its JSON Schema and how it is read, in one. */
#define CONFIG(FIELD) FIELD(gw_map, keys, "keys", GW_REQUIRED, "The clients' names by their keys, as they send them in `x-api-key`.")
GW_CONFIG(CONFIG)

static gw_problem_at start(void) {
    return (gw_problem_at){"/keys", config.keys.count ? NULL : "needs at least one key"};
}

const gw_plugin gateway_plugin = {
    .name = "hello",
    .version = "0.1.0",
    .description = "Lets in who has a key, and tells the upstream who it is",
    .start = start,
    GW_FIELDS,
};

gw_decision gw_on_request(gw_request request) {
    const char *name = gw_map_get(&config.keys, gw_header(request, "x-api-key"));
    if (!name) return gw_problem(401, "unknown API key");
    gw_error error = gw_set_header(request, "x-client", name);
    return error ? gw_fail(error) : GW_NEXT;
}
