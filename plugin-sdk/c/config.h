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

/* How many bytes the UTF-8 sequence at the beginning of a text has (RFC 3629 §4); 0 if there is none. */
size_t gw_sequence(const uint8_t *at);
/* Writes the character of a byte's number, from 0x80 on, as UTF-8; returns where it ends. */
uint8_t *gw_latin(uint8_t *to, uint8_t byte);

#endif
