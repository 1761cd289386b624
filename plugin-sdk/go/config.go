package gateway

import (
	"encoding/json"
	"reflect"
	"strings"
)

// ConfigProblem is what is wrong with the configuration, at a JSON Pointer (RFC 6901).
type ConfigProblem struct{ Pointer, Message string }

func (p ConfigProblem) Error() string { return p.Message }

// The JSON Schema (2020-12) of a struct: names are those of the `json` tags, texts those of `description`, defaults those of
// `default`, as JSON. What has neither a default nor `omitempty` is required.
func schemaOf(of reflect.Type) map[string]any {
	switch of.Kind() {
	case reflect.Pointer:
		return schemaOf(of.Elem())
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": schemaOf(of.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(of.Elem())}
	case reflect.Struct:
		properties, required := map[string]any{}, []string{}
		eachField(of, func(field reflect.StructField, name string, optional bool) {
			inner := schemaOf(field.Type)
			if description := field.Tag.Get("description"); description != "" {
				inner["description"] = description
			}
			if standard, ok := defaultOf(field); ok {
				inner["default"] = standard
			} else if !optional {
				required = append(required, name)
			}
			properties[name] = inner
		})
		return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	default:
		return map[string]any{}
	}
}

func eachField(of reflect.Type, do func(field reflect.StructField, name string, optional bool)) {
	for i := range of.NumField() {
		field := of.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		do(field, name, strings.Contains(options, "omitempty"))
	}
}

// A default is JSON, or the text itself where the field is one.
func defaultOf(field reflect.StructField) (json.RawMessage, bool) {
	standard, ok := field.Tag.Lookup("default")
	if !ok {
		return nil, false
	}
	if field.Type.Kind() == reflect.String {
		quoted, _ := json.Marshal(standard)
		return quoted, true
	}
	return json.RawMessage(standard), true
}

// Fills a struct with the defaults of its fields, so that decoding replaces those that are given.
func setDefaults(value reflect.Value) error {
	if value.Kind() != reflect.Struct {
		return nil
	}
	var failed error
	eachField(value.Type(), func(field reflect.StructField, name string, _ bool) {
		target := value.FieldByIndex(field.Index)
		if standard, ok := defaultOf(field); ok {
			if err := json.Unmarshal(standard, target.Addr().Interface()); err != nil {
				failed = ConfigProblem{"/" + name, "its default: " + err.Error()}
			}
		} else if err := setDefaults(target); err != nil {
			failed = err
		}
	})
	return failed
}

func read[C any](text string) (C, error) {
	var config C
	if err := setDefaults(reflect.ValueOf(&config).Elem()); err != nil {
		return config, err
	}
	if text == "" {
		text = "{}"
	}
	err := json.Unmarshal([]byte(text), &config)
	return config, err
}
