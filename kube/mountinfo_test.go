package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzUIDFromMountinfo(f *testing.F) {
	files, err := filepath.Glob("testdata/mountinfo/*")
	if err != nil || len(files) == 0 {
		f.Fatalf("no captured files: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("1 2 3:4 /pods//etc-hosts /etc/hosts rw - ext4 x rw")
	f.Add("1 2 3:4 pods/0123456789abcdef/etc-hosts /etc/hosts rw")
	f.Add(strings.Repeat("x", 70<<10))
	f.Fuzz(func(t *testing.T, text string) {
		uid, mount, err := uidFromMountinfo(strings.NewReader(text))
		if (uid == "") != (mount == "") || err != nil && uid != "" {
			t.Errorf("uid %q, mount %q, err %v", uid, mount, err)
		}
		if uid != "" && (!isUID(uid) || !strings.Contains(text, "pods/"+uid+"/")) {
			t.Errorf("uid %q is no pod's", uid)
		}
	})
}

func TestMountinfoIsBounded(t *testing.T) {
	if _, _, err := uidFromMountinfo(strings.NewReader(strings.Repeat("x", 1<<20))); err == nil {
		t.Error("a line of 1 MiB is no error")
	}
	// Covered by a later mount, the kubelet's file no longer counts.
	covered := `1028 1021 254:1 /var/lib/kubelet/pods/0b9ffe6d-0a5b-4a52-9b0c-5d2f5a1c6f01/etc-hosts /etc/hosts rw - ext4 /dev/vda1 rw
1029 1028 0:33 / /etc/hosts rw - tmpfs tmpfs rw
`
	if uid, mount, err := uidFromMountinfo(strings.NewReader(covered)); uid != "" || mount != "" || err != nil {
		t.Errorf("uid %q, mount %q, err %v", uid, mount, err)
	}
}
