package gateway

import (
	"strings"
	"unicode/utf8"
)

// What the gateway takes as text must be UTF-8, or the instance traps (component model, "string"). What comes from clients need
// not be: each byte that is not UTF-8 becomes the character of its number (ISO 8859-1). Values of fields and bodies are bytes and
// stay as they are.
func valid(given string) string {
	if utf8.ValidString(given) {
		return given
	}
	var made strings.Builder
	for len(given) > 0 {
		char, size := utf8.DecodeRuneInString(given)
		if char == utf8.RuneError && size == 1 {
			char = rune(given[0])
		}
		made.WriteRune(char)
		given = given[size:]
	}
	return made.String()
}

// Names and values that are both text.
func validPairs(list [][2]string) [][2]string {
	made := make([][2]string, len(list))
	for i, entry := range list {
		made[i] = [2]string{valid(entry[0]), valid(entry[1])}
	}
	return made
}

// Fields: their values are bytes.
func validFields(list [][2]string) [][2]string {
	made := make([][2]string, len(list))
	for i, entry := range list {
		made[i] = [2]string{valid(entry[0]), entry[1]}
	}
	return made
}
