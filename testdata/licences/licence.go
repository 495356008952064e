package main

import "strings"

// licences are told by sentences that all their copies have.
var licences = []struct {
	name      string
	sentences []string
	allowed   bool
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0, January 2004"}, true},
	{"MIT", []string{"Permission is hereby granted, free of charge, to any person obtaining a copy"}, true},
	{"ISC", []string{"Permission to use, copy, modify, and/or distribute this software for any purpose"}, true},
	{"BSD", []string{"Redistribution and use in source and binary forms, with or without modification, are permitted"}, true},
	{"GPL", []string{"GNU GENERAL PUBLIC LICENSE"}, false},
	{"LGPL", []string{"GNU LESSER GENERAL PUBLIC LICENSE"}, false},
	{"AGPL", []string{"GNU AFFERO GENERAL PUBLIC LICENSE"}, false},
	{"MPL", []string{"Mozilla Public License"}, false},
	{"EPL", []string{"Eclipse Public License"}, false},
	{"BUSL", []string{"Business Source License"}, false},
	{"SSPL", []string{"Server Side Public License"}, false},
	{"Commons Clause", []string{"Commons Clause"}, false},
}

// classify names the licences that a text has.
func classify(text string) map[string]bool {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	found := map[string]bool{}
	for _, l := range licences {
		has := true
		for _, s := range l.sentences {
			has = has && strings.Contains(text, strings.ToLower(s))
		}
		if has {
			found[l.name] = true
		}
	}
	return found
}

// allowed reports whether a release may pass on what comes under these licences.
func allowed(found map[string]bool) bool {
	for _, l := range licences {
		if found[l.name] && !l.allowed {
			return false
		}
	}
	return true
}
