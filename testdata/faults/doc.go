// Package faults runs lull as it is shipped against all that can go wrong: the API server, the
// kernel, the process, what it is told. Every hook has network and mount namespaces of its own, with
// an app, its clients and an API server in them. Two figures count: hooks that ended too early, and
// hooks that ended too late. README.md has the table of faults, which is made from the tests' lists.
package faults
