package figures

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestSVG(t *testing.T) {
	text := SVG("Rolling updates", "10 each & more", []Bar{{"no hook", 1200, 0, 0.3}, {"<lull>", 0, 15.2, 15.9}, {"sleep 15", 0, 15, 15}})
	d := xml.NewDecoder(strings.NewReader(text))
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, text)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 6 {
		t.Errorf("%d bars, want two for each of 3 hooks", bars)
	}
	if !strings.Contains(text, "&lt;lull&gt;") {
		t.Error("labels are not escaped")
	}
	if text != SVG("Rolling updates", "10 each & more", []Bar{{"no hook", 1200, 0, 0.3}, {"<lull>", 0, 15.2, 15.9}, {"sleep 15", 0, 15, 15}}) {
		t.Error("the same figures give another picture")
	}
}

func TestSVGWithoutFigures(t *testing.T) {
	for _, bars := range [][]Bar{nil, {{}}, {{Label: "all zero"}, {Label: "too"}}} {
		if text := SVG("t", "n", bars); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%v: %s", bars, text)
		}
	}
}

// TestKept checks that the picture of late routers is that of the kept table.
func TestKept(t *testing.T) {
	picture, err := os.ReadFile("routers.svg")
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("routers.md")
	if err != nil {
		t.Fatal(err)
	}
	hook := regexp.MustCompile(`>([0-9]+ s) late: ([^<]+)</text>(?s:.*?)">([0-9]+)</text>(?s:.*?) s, max ([0-9.]+)</text>`)
	var drawn, kept []string
	for _, bar := range hook.FindAllStringSubmatch(string(picture), -1) {
		drawn = append(drawn, strings.Join(bar[1:], ", "))
	}
	row := regexp.MustCompile(`(?m)^\| nginx \| ([0-9]+ s) \| ([^|]+) \| [0-9]+ \| ([0-9]+) \| ([0-9.]+) s \|$`)
	for _, cells := range row.FindAllStringSubmatch(string(table), -1) {
		kept = append(kept, strings.Join(cells[1:], ", "))
	}
	if len(kept) < 4 || !slices.Equal(drawn, kept) {
		t.Errorf("routers.svg has\n%s\nrouters.md has\n%s", strings.Join(drawn, "\n"), strings.Join(kept, "\n"))
	}
}

func TestTable(t *testing.T) {
	got := Table([]string{"a", "b"}, [][]string{{"1", "2"}})
	if want := "| a | b |\n| --- | --- |\n| 1 | 2 |\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
