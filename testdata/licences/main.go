// Licences checks that what is linked into lull comes under licences that a release may pass on, and
// writes their texts, which the release has to bring, as one file. By hand: go-licenses 1.6.0 finds
// the same, but looks at one system at a time and leaves out Go's own library.
//
//	go run ./testdata/licences -o licences.txt
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	out := flag.String("o", "", "write all texts to this file")
	flag.Parse()
	if err := run(context.Background(), *out); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string) error {
	modules, err := linked(ctx, "linux", "darwin")
	if err != nil {
		return err
	}
	var texts strings.Builder
	fmt.Fprintln(&texts, "lull comes under the Apache License 2.0, see LICENSE. It contains the modules below.")
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	var wrong []string
	for _, m := range modules {
		notices, err := m.notices()
		if err != nil {
			return err
		}
		all := map[string]bool{}
		for _, n := range notices {
			found := classify(n.text)
			maps.Copy(all, found)
			if n.isLicence && (len(found) == 0 || !allowed(found)) {
				wrong = append(wrong, fmt.Sprintf("%s: %s: %s", m.path, n.name, cmp.Or(names(found), "unknown")))
			}
			fmt.Fprintf(&texts, "\n%s\n%s %s: %s\n\n%s\n", strings.Repeat("=", 80), m.path, m.version, n.name, strings.TrimSpace(n.text))
		}
		if len(all) == 0 {
			wrong = append(wrong, m.path+": no licence")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", m.path, m.version, names(all))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if wrong != nil {
		return fmt.Errorf("not on the list of what a release may pass on:\n%s", strings.Join(wrong, "\n"))
	}
	if out == "" {
		return nil
	}
	return os.WriteFile(out, []byte(texts.String()), 0o644)
}

func names(licences map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(licences)), ", ")
}
