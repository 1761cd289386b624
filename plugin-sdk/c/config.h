/* Configuration: its JSON Schema from the plugin's fields, and the fields from JSON. Not for plugins. */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include "gateway.h"

/* Empty for a plugin without fields. */
const char *gw_schema(const gw_plugin *plugin);
/* Fills the plugin's struct from JSON that the gateway has checked against the schema. */
void gw_configure(const gw_plugin *plugin, const char *json);
/* A text as JSON, in quotes. */
const char *gw_json_text(const char *text);

#endif
