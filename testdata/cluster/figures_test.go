package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lull/testdata/cluster/figures"
)

// figuresDir is where tables and pictures go: LULL_CLUSTER_FIGURES, else the cache directory.
func figuresDir() (string, error) {
	dir := os.Getenv("LULL_CLUSTER_FIGURES")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "lull-cluster", "figures")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// saveFigures prints a table and keeps it, with the figures it was made from and maybe a picture.
func saveFigures(t *testing.T, name string, values any, table, picture string) {
	t.Helper()
	t.Log("\n" + table)
	if t.Failed() {
		t.Log("a failed run's figures: not kept")
		return
	}
	dir, err := figuresDir()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{name + ".json": string(text) + "\n", name + ".md": table}
	if picture != "" {
		files[name+".svg"] = picture
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("kept in %s as %s.*", dir, name)
}

func seriesTable(all []series) string {
	var rows [][]string
	for _, x := range all {
		rows = append(rows, []string{x.Hook, x.Proxy, x.clients(), fmt.Sprint(x.Rollouts), fmt.Sprint(x.Requests), fmt.Sprint(x.Failed), fmt.Sprint(x.Worst),
			fmt.Sprintf("%.1f s", x.median()), fmt.Sprintf("%.1f s", x.max())})
	}
	return figures.Table([]string{"hook", "kube-proxy", "keep-alive clients", "rollouts", "requests", "failed", "worst rollout", "held, median", "held, max"}, rows)
}

// clients says what the clients do that keep their connections.
func (x series) clients() string {
	if x.LetGo {
		return "let go after 2 s"
	}
	return "never let go"
}

// seriesPicture draws the hooks that went through the same: those in nftables mode.
func seriesPicture(all []series) string {
	var bars []figures.Bar
	n := 0
	for _, x := range all {
		if x.Proxy == "nftables" {
			label := x.Hook
			if x.LetGo {
				label += ", clients let go"
			}
			bars = append(bars, figures.Bar{Label: label, Failed: x.Failed, Held: x.median(), Max: x.max()})
			n = x.Rollouts
		}
	}
	note := fmt.Sprintf("%d rolling updates a hook: 2 replicas, 200 new connections a second and 20 keep-alive clients;\none-node Kubernetes, kube-proxy in nftables mode", n)
	return figures.SVG("Requests lost and seconds held in rolling updates, hook by hook", note, bars)
}

// routerPicture draws what one router made of the hooks, the earlier it was told the higher.
func routerPicture(all []slowRouter, router string) string {
	var bars []figures.Bar
	for _, x := range all {
		if x.Router == router {
			held := slices.Sorted(slices.Values(append(x.HeldS, 0)))
			bars = append(bars, figures.Bar{Label: fmt.Sprintf("%.0f s late: %s", x.DelayS, x.Hook), Failed: x.Failed, Held: held[len(held)/2], Max: held[len(held)-1]})
		}
	}
	note := fmt.Sprintf("a rolling update of two replicas behind %s, which pools its connections and is told of each change so late;\none-node Kubernetes", router)
	return figures.SVG("Requests lost and seconds held behind a router that hears late", note, bars)
}

func routerTable(all []slowRouter) string {
	var rows [][]string
	for _, x := range all {
		rows = append(rows, []string{x.Router, fmt.Sprintf("%.0f s", x.DelayS), x.Hook, fmt.Sprint(x.Requests), fmt.Sprint(x.Failed),
			fmt.Sprintf("%.1f s", slices.Max(append(x.HeldS, 0)))})
	}
	return figures.Table([]string{"router", "told late by", "hook", "requests", "failed", "held, max"}, rows)
}
