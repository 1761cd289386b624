package gateway

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// ConfigProblem is what is wrong with the configuration, at a JSON Pointer (RFC 6901).
type ConfigProblem struct{ Pointer, Message string }

func (p ConfigProblem) Error() string { return p.Message }

// The JSON Schema (2020-12) of a struct: names are those of the `json` tags, texts those of `description`, defaults those of
// `default`, as JSON. What has neither a default nor `omitempty` is required.
func schemaOf(of reflect.Type) map[string]any { return schemaWithin(of, nil) }

// A struct within itself, at any depth, is any object: `around` are the structs that the type is a part of.
func schemaWithin(of reflect.Type, around []reflect.Type) map[string]any {
	if readsItself(of) {
		return map[string]any{}
	}
	if slices.Contains(around, of) {
		return map[string]any{"type": "object"}
	}
	switch of.Kind() {
	case reflect.Pointer:
		return schemaWithin(of.Elem(), around)
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		most := int64(1)<<(of.Bits()-1) - 1
		return map[string]any{"type": "integer", "minimum": -most - 1, "maximum": most}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0, "maximum": ^uint64(0) >> (64 - of.Bits())}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice, reflect.Array:
		if of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Uint8 {
			// As encoding/json has it.
			return map[string]any{"type": "string", "contentEncoding": "base64"}
		}
		return map[string]any{"type": "array", "items": schemaWithin(of.Elem(), around)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaWithin(of.Elem(), around)}
	case reflect.Struct:
		properties, required := map[string]any{}, []string{}
		around = append(slices.Clone(around), of)
		eachField(of, func(field reflect.StructField, name string, optional bool) {
			inner := schemaWithin(field.Type, around)
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

// Puts defaults in the places of what is missing, at any depth: in structs, in the elements of lists and in the values of maps. Whole
// numbers that are written with a fraction of zero, such as 1000.0, which the schema allows, become what integers are read from.
func complete(of reflect.Type, given any) (any, error) {
	if readsItself(of) {
		return given, nil
	}
	switch of.Kind() {
	case reflect.Pointer:
		if given == nil {
			return nil, nil
		}
		return complete(of.Elem(), given)
	case reflect.Struct:
		object, ok := given.(map[string]any)
		if !ok {
			return given, nil
		}
		var failed error
		eachField(of, func(field reflect.StructField, name string, _ bool) {
			value, is := object[name]
			standard, hasDefault := defaultOf(field)
			switch {
			case is:
			case hasDefault:
				var err error
				if value, err = decoded(string(standard)); err != nil {
					failed = ConfigProblem{pointer(name), "its default: " + err.Error()}
					return
				}
			case field.Type.Kind() == reflect.Struct:
				value = map[string]any{}
			default:
				return
			}
			made, err := complete(field.Type, value)
			if err != nil {
				failed = within(name, err)
			}
			object[name] = made
		})
		return object, failed
	case reflect.Slice, reflect.Array:
		list, _ := given.([]any)
		for i, element := range list {
			made, err := complete(of.Elem(), element)
			if err != nil {
				return nil, within(strconv.Itoa(i), err)
			}
			list[i] = made
		}
	case reflect.Map:
		object, _ := given.(map[string]any)
		for name, value := range object {
			made, err := complete(of.Elem(), value)
			if err != nil {
				return nil, within(name, err)
			}
			object[name] = made
		}
	default:
		number, ok := given.(json.Number)
		if ok && isInteger(of.Kind()) && strings.ContainsAny(string(number), ".eE") {
			if whole, err := number.Float64(); err == nil && whole == math.Trunc(whole) {
				return json.Number(strconv.FormatFloat(whole, 'f', 0, 64)), nil
			}
		}
	}
	return given, nil
}

// Whether a type has rules of its own for what is read into it.
func readsItself(of reflect.Type) bool {
	return reflect.PointerTo(of).Implements(reflect.TypeFor[json.Unmarshaler]())
}

func isInteger(kind reflect.Kind) bool { return kind >= reflect.Int && kind <= reflect.Uint64 }

// A JSON Pointer of one name.
func pointer(name string) string {
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// An error about a part of something with this name.
func within(name string, err error) error {
	var problem ConfigProblem
	if !errors.As(err, &problem) {
		problem.Message = err.Error()
	}
	return ConfigProblem{pointer(name) + problem.Pointer, problem.Message}
}

// Numbers keep all of their digits.
func decoded(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}

func read[C any](text string) (C, error) {
	var config C
	if text == "" {
		text = "{}"
	}
	given, err := decoded(text)
	if err != nil {
		return config, err
	}
	given, err = complete(reflect.TypeFor[C](), given)
	if err != nil {
		return config, err
	}
	whole, err := json.Marshal(given)
	if err != nil {
		return config, err
	}
	err = json.Unmarshal(whole, &config)
	// The schema has been checked, so this is a type with rules of its own, or a default of another type.
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		err = ConfigProblem{"/" + strings.ReplaceAll(wrong.Field, ".", "/"), "expected " + wrong.Type.String() + ", found " + wrong.Value}
	}
	return config, err
}
