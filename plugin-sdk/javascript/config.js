// The configuration: its JSON with integers of 64 bits, and the defaults of its schema.

import { wrong } from "./arguments.js";

/** What is wrong with the configuration, at a JSON Pointer (RFC 6901). */
export class ConfigProblem extends Error {
  constructor(pointer, message) {
    super(message);
    this.name = "ConfigProblem";
    this.pointer = pointer;
  }
}

/** JSON as a value; an integer that a number cannot hold is a `bigint`. */
function parse(json) {
  const isLarge = (value) => typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
  return JSON.parse(json, (_, value, { source } = {}) => (isLarge(value) && /^-?\d+$/.test(source) ? BigInt(source) : value));
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const TYPES = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number" || typeof value === "bigint",
  integer: (value) => Number.isInteger(value) || typeof value === "bigint",
  boolean: (value) => typeof value === "boolean",
  null: (value) => value === null,
};

/** Whether a value is one of a schema, as far as it decides which of several alternatives applies. */
function fits(schema, value, resolve) {
  const { const: constant, enum: names, type, required = [], properties = {} } = resolve(schema);
  if (constant !== undefined && value !== constant) return false;
  if (names !== undefined && !names.includes(value)) return false;
  if (type !== undefined && ![type].flat().some((name) => TYPES[name]?.(value))) return false;
  if (!isObject(value)) return true;
  const isPresent = (name) => Object.hasOwn(value, name);
  return required.every(isPresent) && Object.keys(properties).every((name) => !isPresent(name) || fits(properties[name], value[name], resolve));
}

const pointerTo = (pointer, name) => `${pointer}/${String(name).replace(/~/g, "~0").replace(/\//g, "~1")}`;

/** An integer with the type that its schema says. */
function integerOf(schema, value, pointer) {
  if (schema.format === "int64" || schema.format === "uint64") return Number.isInteger(value) ? BigInt(value) : value;
  if (typeof value !== "bigint") return value;
  if ([schema.type].flat().includes("number")) return Number(value);
  const most = Number.MAX_SAFE_INTEGER;
  throw new ConfigProblem(pointer, `is not between -${most} and ${most}: with format "int64" in the schema it becomes a bigint`);
}

/** A value with the defaults of its schema wherever the configuration says nothing, in lists and maps too. */
function filled(given, value, resolve, pointer) {
  const schema = resolve(given);
  if (schema === undefined || schema === null || typeof schema !== "object") return value;
  const at = (inner, name, of) => {
    const found = Object.hasOwn(of, name) ? of[name] : copied(resolve(inner)?.default);
    const result = found === undefined ? undefined : filled(inner, found, resolve, pointerTo(pointer, name));
    if (result !== undefined) of[name] = result;
  };
  for (const part of schema.allOf ?? []) value = filled(part, value, resolve, pointer);
  const alternatives = schema.anyOf ?? schema.oneOf ?? [];
  const alternative = alternatives.find((one) => fits(one, value, resolve));
  if (alternative !== undefined) value = filled(alternative, value, resolve, pointer);
  if (isObject(value)) {
    const { properties = {}, patternProperties = {}, additionalProperties } = schema;
    for (const name of Object.keys(properties)) at(properties[name], name, value);
    for (const name of Object.keys(value).filter((name) => !Object.hasOwn(properties, name))) {
      const patterns = Object.keys(patternProperties).filter((pattern) => new RegExp(pattern, "u").test(name));
      for (const pattern of patterns) at(patternProperties[pattern], name, value);
      if (patterns.length === 0) at(additionalProperties, name, value);
    }
  } else if (Array.isArray(value)) {
    const { prefixItems = [], items } = schema;
    value.forEach((_, index) => at(prefixItems[index] ?? items, index, value));
  } else if (TYPES.integer(value) && [schema.type].flat().some((type) => type === "integer" || type === "number")) {
    return integerOf(schema, value, pointer);
  }
  return value;
}

/** A default is not shared by the values that get it. */
function copied(value) {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

/** Follows references within the schema. */
function resolver(root) {
  return function resolve(schema) {
    let found = schema;
    for (let depth = 0; depth < 16 && typeof found?.$ref === "string" && found.$ref.startsWith("#"); depth++) {
      const names = found.$ref.slice(1).split("/").slice(1);
      const { $ref, ...beside } = found;
      found = names.reduce((at, name) => at?.[name.replace(/~1/g, "/").replace(/~0/g, "~")], root);
      if (found !== undefined && Object.keys(beside).length > 0) found = { ...found, ...beside };
    }
    return found;
  };
}

/** The configuration as `create` gets it. */
export function configurationOf(schema, json) {
  const value = parse(json === "" ? "{}" : json);
  return schema === undefined ? value : filled(schema, value, resolver(schema), "");
}

/** The schema as JSON; empty if there is none. */
export function schemaText(schema) {
  if (schema === undefined) return "";
  if (!isObject(schema)) throw wrong("config", "a JSON Schema", schema);
  return JSON.stringify(schema);
}
