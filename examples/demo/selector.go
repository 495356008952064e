package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// selector says which objects a list or watch is about.
type selector []func(change) bool

func (s selector) matches(c change) bool {
	return !slices.ContainsFunc(s, func(is func(change) bool) bool { return !is(c) })
}

// parseSelector reads labelSelector and fieldSelector as far as they are equal
// signs and sets: `a=b`, `a==b`, `a in (b,c)`. Anything else is an error, since an
// API server never ignores a selector.
func parseSelector(namespace string, query url.Values) (selector, error) {
	s := selector{func(c change) bool { return c.namespace == namespace }}
	for _, text := range requirements(query.Get("labelSelector")) {
		label, values, err := parseRequirement(text)
		if err != nil {
			return nil, fmt.Errorf("labelSelector: %w", err)
		}
		s = append(s, func(c change) bool {
			value, ok := c.labels[label]
			return ok && slices.Contains(values, value)
		})
	}
	for _, text := range requirements(query.Get("fieldSelector")) {
		field, values, err := parseRequirement(text)
		if err != nil {
			return nil, fmt.Errorf("fieldSelector: %w", err)
		}
		if field != "metadata.name" {
			return nil, fmt.Errorf("fieldSelector: field %q is not supported", field)
		}
		s = append(s, func(c change) bool { return slices.Contains(values, c.name) })
	}
	return s, nil
}

// requirements splits at the commas that are not in a set.
func requirements(text string) []string {
	depth := 0
	return strings.FieldsFunc(text, func(r rune) bool {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		return r == ',' && depth == 0
	})
}

func parseRequirement(text string) (name string, values []string, err error) {
	if name, set, ok := strings.Cut(text, " in "); ok {
		set = strings.TrimSpace(set)
		inner, opened := strings.CutPrefix(set, "(")
		inner, closed := strings.CutSuffix(inner, ")")
		if !opened || !closed {
			return "", nil, fmt.Errorf("%q is no set", set)
		}
		for value := range strings.SplitSeq(inner, ",") {
			values = append(values, strings.TrimSpace(value))
		}
		return strings.TrimSpace(name), values, nil
	}
	name, value, ok := strings.Cut(text, "=")
	if !ok || strings.HasSuffix(name, "!") {
		return "", nil, fmt.Errorf("%q is not understood", text)
	}
	return strings.TrimSpace(name), []string{strings.TrimSpace(strings.TrimPrefix(value, "="))}, nil
}
