package configs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// dynamic is a setting that the configuration centre may change while servers run.
type dynamic struct {
	name  string
	field func(*Config) any // a pointer to where it stands
}

// dynamics is all of them, by name. What reads them must look each time, or be told:
// see app/settings.go. A field is a float64, a string, a bool or an int.
var dynamics = []dynamic{
	{"features.registration", func(c *Config) any { return &c.Features.Registration }},
	{"features.signals", func(c *Config) any { return &c.Features.Signals }},
	{"features.user_rooms", func(c *Config) any { return &c.Features.UserRooms }},
	{"limits.recall_seconds", func(c *Config) any { return &c.Limits.RecallSeconds }},
	{"limits.send_burst", func(c *Config) any { return &c.Limits.SendBurst }},
	{"limits.sends_per_second", func(c *Config) any { return &c.Limits.SendsPerSecond }},
	{"log.level", func(c *Config) any { return &c.Log.Level }},
	{"tracing.sample_rate", func(c *Config) any { return &c.Tracing.SampleRate }},
}

// ErrNotDynamic is that of a setting that the configuration centre can not change.
var ErrNotDynamic = errors.New("not a setting that can change while servers run")

// Dynamic returns the names of the settings that the configuration centre can
// change, sorted.
func Dynamic() []string {
	names := make([]string, len(dynamics))
	for i, d := range dynamics {
		names[i] = d.name
	}
	return names
}

func findDynamic(name string) (dynamic, error) {
	i := slices.IndexFunc(dynamics, func(d dynamic) bool { return d.name == name })
	if i < 0 {
		return dynamic{}, fmt.Errorf("%s: %w", name, ErrNotDynamic)
	}
	return dynamics[i], nil
}

// Value returns a dynamic setting as text, in the form that With takes; empty for a
// name that is none.
func (c *Config) Value(name string) string {
	d, err := findDynamic(name)
	if err != nil {
		return ""
	}
	switch field := d.field(c).(type) {
	case *float64:
		return strconv.FormatFloat(*field, 'f', -1, 64)
	case *string:
		return *field
	case *bool:
		return strconv.FormatBool(*field)
	case *int:
		return strconv.Itoa(*field)
	}
	return ""
}

// With returns the configuration with another value of a dynamic setting, judged by
// the rules that a file is judged by. An error begins with the setting's name. c
// itself is not changed.
func (c *Config) With(name, value string) (*Config, error) {
	d, err := findDynamic(name)
	if err != nil {
		return nil, err
	}
	next := *c
	value = strings.TrimSpace(value) // what was piped into etcdctl ends in a new line
	switch field := d.field(&next).(type) {
	case *float64:
		*field, err = strconv.ParseFloat(value, 64)
	case *string:
		*field = value
	case *bool:
		*field, err = strconv.ParseBool(value)
	case *int:
		*field, err = strconv.Atoi(value)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %q is no %s", name, value, kindOf(d.field(c)))
	}
	var f findings
	next.validateDynamic(&f)
	if err := errors.Join(f.errs...); err != nil {
		return nil, err
	}
	return &next, nil
}

// kindOf says what text a field takes.
func kindOf(field any) string {
	switch field.(type) {
	case *bool:
		return "true or false"
	case *int:
		return "whole number"
	}
	return "number"
}
