package protocol

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"testing"
)

// match compares an answer with the JSON that is wanted of it: fields that are not
// named may be anything, "*" is anything that is not empty, null is a field that
// is left out. Strings and numbers are told apart, since the protocol does.
func match(want, got any) error {
	switch want := want.(type) {
	case nil:
		if got != nil {
			return fmt.Errorf("is %v, want nothing", got)
		}
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("is %v (%T), want an object", got, got)
		}
		for key, value := range want {
			if err := match(value, object[key]); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	case []any:
		list, _ := got.([]any)
		if len(list) != len(want) {
			return fmt.Errorf("has %d items, want %d: %v", len(list), len(want), got)
		}
		for i, value := range want {
			if err := match(value, list[i]); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case string:
		if want == "*" {
			if got == nil || got == "" || got == false || got == 0.0 || got == "0" {
				return fmt.Errorf("is empty")
			}
			return nil
		}
		return same(want, got)
	default:
		return same(want, got)
	}
	return nil
}

func same(want, got any) error {
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("is %v (%T), want %v (%T)", got, got, want, want)
	}
	return nil
}

func wanted(t *testing.T, text string) any {
	t.Helper()
	var want any
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatalf("what is wanted is no JSON: %v: %s", err, text)
	}
	return want
}

// path walks into an answer: keys and indices.
func path(t *testing.T, value any, steps ...any) any {
	t.Helper()
	for _, step := range steps {
		switch step := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			value = object[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				t.Fatalf("there is no item %d in %v", step, value)
			}
			value = list[step]
		}
	}
	return value
}

// number is an int64 of an answer, 0 where it is left out.
func number(value any) int64 {
	text, _ := value.(string)
	n, _ := strconv.ParseInt(text, 10, 64) // 0 for what is none; match looks at types
	return n
}

func list(value any) []any {
	items, _ := value.([]any)
	return items
}

func object(value any) map[string]any {
	fields, _ := value.(map[string]any)
	return fields
}

// quoted is a string in JSON.
func quoted(s string) string {
	text, _ := json.Marshal(s) //nolint:errchkjson // a string
	return string(text)
}
